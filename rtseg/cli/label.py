"""`rtseg label`: frames of a user's own, with masks to correct, and the formats of labelling tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rtseg.cli.options import End, Json, Model, Providers, Quiet, Start, Threads, names_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtseg.labels.check import Checked
    from rtseg.labels.taking import Taken

_USUAL = "frames"


class _FramesUnlessNamed(TyperGroup):
    """`rtseg label VIDEO` is what people want; whatever is no command's name is taken for the input of `frames`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [_USUAL, *args]
        return super().parse_args(ctx, args)


label = typer.Typer(
    cls=_FramesUnlessNamed,
    help="Prepare training on videos of your own. `rtseg label VIDEO -o DIR` is short for `rtseg label frames`.",
    no_args_is_help=True,
    epilog="Example: rtseg label call.mp4 -o mine/",
)

Folder = Annotated[Path, typer.Argument(help="A folder that `rtseg label` made.", metavar="DIR")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="The folder for images/, masks/ and data.toml.", metavar="DIR")
]
Regions = Annotated[str | None, typer.Option(help="Only these, joined by commas; usually all.", metavar="NAMES")]


class Kind(StrEnum):
    """What masks hold."""

    AUTO = "auto"
    BINARY = "binary"
    ALPHA = "alpha"
    INDEX = "index"


class Segmentation(StrEnum):
    """How COCO files hold areas."""

    POLYGON = "polygon"
    RLE = "rle"


@label.command(_USUAL, epilog="Example: rtseg label call.mp4 -o mine/ --count 60")
def frames(
    source: Annotated[
        str, typer.Argument(help="A video, a picture, a folder of pictures, or 'sample'.", metavar="INPUT")
    ],
    output: Output,
    model: Model = None,
    count: Annotated[
        int | None,
        typer.Option(help="Frames to choose; 40 of a video, all pictures of a folder.", metavar="NUMBER", min=1),
    ] = None,
    regions: Regions = None,
    kind: Annotated[
        Kind, typer.Option(help="What masks hold: 0 and 255, soft values, or a number for each region.")
    ] = Kind.AUTO,
    start: Start = None,
    end: End = None,
    providers: Providers = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose frames that differ, and let a model make their masks, for you to correct.

    DIR/images and DIR/masks have files of the same names, DIR/overlay.png shows both, DIR/data.toml is for training.
    What is in DIR already is kept, corrected masks above all: run it again to add frames.
    """
    from rtseg.cli.console import log_to_stderr, print_error, print_json, stderr
    from rtseg.errors import EXIT_PARTIAL
    from rtseg.labels.check import check
    from rtseg.labels.extract import label as make

    log_to_stderr(quiet=quiet)
    with stderr().status("looking for frames that differ, making masks") if _animated(quiet or json) else _nothing():
        done = make(
            source,
            output,
            model=model,
            count=count,
            regions=names_of(regions),
            kind=kind.value,
            start=start,
            end=end,
            providers=names_of(providers),
            threads=threads,
        )
        sheet = output / "overlay.png"
        checked = check(done.data, sheet=sheet)
    for path, reason in done.failures.items():
        print_error(f"{path}: {reason}" if str(path) not in reason else reason)
    if json:
        print_json(
            {
                "folder": str(output),
                "model": done.model,
                "kind": done.data.kind,
                "chosen": done.chosen,
                "added": done.added,
                "masks_made": done.made,
                "masks_kept": done.kept,
                "overlay": str(sheet),
                "failures": {str(path): reason for path, reason in done.failures.items()},
                **_checked_json(checked),
            }
        )
    elif not quiet:
        lines = [f"{output / 'images'}: {done.chosen} pictures chosen, {done.added} of them new"]
        if done.wanted is not None and done.chosen < done.wanted:
            lines.append(f"fewer than {done.wanted}: all others are blurred or like one of these")
        kept = f"; {done.kept} were there and are kept" if done.kept else ""
        lines.append(f"{output / 'masks'}: {done.made} made by {done.model}{kept}")
        lines.append(f"{sheet}: look it over, then correct the masks")
        _say(lines)
        _tell_problems(checked)
    raise typer.Exit(EXIT_PARTIAL if done.failures else 0)


@label.command("check", epilog="Example: rtseg label check mine/")
def check_folder(folder: Folder, json: Json = False, quiet: Quiet = False) -> None:
    """Look through corrected masks: sizes, values, what is missing. Draws DIR/overlay.png anew."""
    from rtseg.cli.console import log_to_stderr, print_json
    from rtseg.errors import SourceUnreadable
    from rtseg.labels.check import check
    from rtseg.labels.folder import read_set

    log_to_stderr(quiet=quiet)
    data = read_set(folder)
    sheet = data.folder / "overlay.png"
    checked = check(data, sheet=sheet)
    if json:
        print_json({"folder": str(data.folder), "kind": data.kind, "overlay": str(sheet), **_checked_json(checked)})
    elif not quiet:
        held = len(data.stems("held_out")) if checked.pictures else 0
        lines = [f"{data.folder}: {checked.pictures} labelled pictures, {held} of them held back from training"]
        if checked.pictures and not held:
            lines.append("none to evaluate with: add pictures, or name some as held_out in data.toml")
        lines += [
            f"{name}: in {number} pictures, where it covers {100 * checked.coverage[name]:.1f} %"
            for name, number in checked.present.items()
        ]
        _say([*lines, str(sheet)])
    if not json:
        _tell_problems(checked)
    raise typer.Exit(SourceUnreadable.exit_code if checked.problems else 0)


@label.command("export", epilog="Example: rtseg label export mine/ --coco mine.json")
def export(
    folder: Folder,
    coco: Annotated[Path, typer.Option(help="The file to write.", metavar="FILE.json")],
    segmentation: Annotated[
        Segmentation, typer.Option(help="Areas as polygons (runs where they have holes), or all as runs.")
    ] = Segmentation.POLYGON,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write masks as a COCO file, which CVAT, Label Studio and others import."""
    from rtseg.cli.console import log_to_stderr, print_json
    from rtseg.labels.coco import write_coco
    from rtseg.labels.folder import read_set

    log_to_stderr(quiet=quiet)
    pictures, annotations = write_coco(read_set(folder), coco, segmentation=segmentation.value)
    if json:
        print_json({"file": str(coco), "pictures": pictures, "annotations": annotations})
    elif not quiet:
        _say([f"{coco}: {annotations} annotations of {pictures} pictures"])


@label.command("import", epilog="Example: rtseg label import mine.json --images mine/images -o corrected/")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="A COCO file, or a folder: CVAT's 'Segmentation mask 1.1', Darwin JSON, or volumes as of IVDM3Seg.",
            metavar="FILE_OR_FOLDER",
        ),
    ],
    output: Output,
    images: Annotated[
        Path | None, typer.Option(help="The folder of the pictures; usually `images` beside the labels.", metavar="DIR")
    ] = None,
    regions: Regions = None,
    instances: Annotated[bool, typer.Option("--instances", help="A number for each object of one region.")] = False,
    channels: Annotated[
        str | None,
        typer.Option(
            help="Of volumes: which kind, or which three, pictures show; usually fat,opp,wat.", metavar="NAMES"
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write masks anew that DIR has already.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a folder for training from the labels of another tool. Masks that DIR has are kept without --replace."""
    from rtseg.cli.console import log_to_stderr, print_json
    from rtseg.errors import ConfigError
    from rtseg.labels.check import check
    from rtseg.labels.ivdm3seg import read_spines

    log_to_stderr(quiet=quiet)
    read = _reader_of(source)
    more: dict[str, Any] = {}
    if channels is not None:
        if read is not read_spines:
            raise ConfigError(
                f"--channels {channels} is for volumes (NAME_Labels.nii): {source} has none, leave it out"
            )
        more["channels"] = names_of(channels)
    done = read(source, output, images=images, regions=names_of(regions), instances=instances, replace=replace, **more)
    sheet = output / "overlay.png"
    checked = check(done.data, sheet=sheet)
    if json:
        print_json(
            {
                "folder": str(output),
                "kind": done.data.kind,
                "masks_made": done.made,
                "masks_kept": done.kept,
                "overlay": str(sheet),
                "notes": list(done.notes),
                **_checked_json(checked),
            }
        )
    elif not quiet:
        kept = f"; {done.kept} were there and are kept: --replace writes them anew" if done.kept else ""
        _say([f"{output / 'masks'}: {done.made} made of {source}{kept}", *done.notes, str(sheet)])
        _tell_problems(checked)


def _reader_of(source: Path) -> Callable[..., Taken]:
    """What reads labels of that kind, by the files that a folder has."""
    from rtseg.labels.coco import read_coco
    from rtseg.labels.cvat import read_colour_masks
    from rtseg.labels.darwin import read_darwin
    from rtseg.labels.ivdm3seg import read_spines, subjects

    if not source.is_dir():
        return read_coco
    if not (source / "labelmap.txt").exists():
        if subjects(source):
            return read_spines
        if next(source.rglob("*.json"), None) is not None:
            return read_darwin
    return read_colour_masks


def _say(lines: list[str]) -> None:
    from rtseg.cli.console import stdout

    stdout().print("\n".join(lines), markup=False, soft_wrap=True)


def _tell_problems(checked: Checked) -> None:
    from rtseg.cli.console import print_error, stderr

    for reason in checked.problems.values():
        print_error(reason)
    if checked.unlabelled:
        few = ", ".join(checked.unlabelled[:5]) + (", ..." if len(checked.unlabelled) > 5 else "")
        stderr().print(f"{len(checked.unlabelled)} pictures have no mask: {few}", markup=False)


def _checked_json(checked: Checked) -> dict[str, Any]:
    return {
        "pictures": checked.pictures,
        "present": dict(checked.present),
        "coverage": {name: round(share, 5) for name, share in checked.coverage.items()},
        "problems": {str(path): reason for path, reason in checked.problems.items()},
        "unlabelled": list(checked.unlabelled),
    }


def _animated(silent: bool) -> bool:
    from rtseg.cli.console import stderr

    return not silent and stderr().is_terminal


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()
