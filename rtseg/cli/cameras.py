"""`rtseg cameras`: which cameras there are, and what each can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtseg.cli.options import Json

if TYPE_CHECKING:
    from rtseg.sources.modes import CameraInfo


def cameras(json: Json = False) -> None:
    """Every camera, by the number that `rtseg run camera:NUMBER` takes, with its sizes and rates."""
    from rtseg.cli.console import print_json, stderr, stdout
    from rtseg.sources.camera import list_cameras

    found = list_cameras()
    if json:
        print_json([_values(number, camera) for number, camera in enumerate(found)])
        return
    if not found:
        stderr().print("No camera is plugged in, or this system lists none.", markup=False)
        return
    for number, camera in enumerate(found):
        stdout().print(f"camera:{number}  {camera.device}  {camera.name}  {camera.note}".rstrip(), markup=False)
        for mode in _values(number, camera)["modes"]:
            rates = ", ".join(f"{rate:g}" for rate in mode["rates"])
            stdout().print(f"  {mode['format']:<5} {'x'.join(map(str, mode['size']))}  {rates}".rstrip(), markup=False)


def _values(number: int, camera: CameraInfo) -> dict[str, Any]:
    modes = [{"format": m.format, "size": list(m.size), "rates": [float(r) for r in m.rates]} for m in camera.modes]
    return {"camera": number, "device": camera.device, "name": camera.name, "note": camera.note, "modes": modes}
