"""`rtseg gstreamer`: how the GStreamer of a shell finds the element."""

from __future__ import annotations

import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import typer

from rtseg.errors import DependencyMissing
from rtseg.gstreamer import PLUGINS

_SYSTEM = "/usr/bin/python3"
_ASK = "import sys, pathlib, gi; print(*sys.version_info[:2], pathlib.Path(gi.__file__).parents[1])"


def gstreamer() -> None:
    """Print what makes GStreamer find the element rtseg: eval "$(rtseg gstreamer)"."""
    installed, package, bindings = Path(sysconfig.get_path("purelib")), PLUGINS.parents[1], _bindings()
    # Last the system's own modules: in an active virtual environment its Python would not look there.
    python = dict.fromkeys(str(path) for path in (package, installed, bindings))
    for name, paths in (("GST_PLUGIN_PATH", [str(PLUGINS)]), ("PYTHONPATH", python)):
        typer.echo(f"export {name}={shlex.quote(':'.join(paths))}${{{name}:+:${name}}}")


def _bindings() -> Path:
    """Where the system's Python has PyGObject; DependencyMissing if it has none, or is another Python than ours."""
    done = None
    if Path(_SYSTEM).exists():
        done = subprocess.run([_SYSTEM, "-I", "-c", _ASK], capture_output=True, text=True, check=False)
    if done is None or done.returncode:
        raise DependencyMissing(
            f"{_SYSTEM} has no PyGObject, which GStreamer needs for elements in Python: on Debian and Ubuntu "
            "apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-python3-plugin-loader"
        )
    major, minor, place = done.stdout.strip().split(" ", 2)
    if (int(major), int(minor)) != sys.version_info[:2]:
        ours = ".".join(map(str, sys.version_info[:2]))
        raise DependencyMissing(
            f"GStreamer runs Python {major}.{minor}, but rtseg is installed for {ours}: use {_SYSTEM} -m venv"
        )
    return Path(place)
