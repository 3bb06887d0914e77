"""The `rtseg` command from inside: its subcommands."""

from __future__ import annotations

import typer

from rtseg.cli.archive import batch, drive
from rtseg.cli.bench import bench
from rtseg.cli.cameras import cameras
from rtseg.cli.console import log_to_stderr
from rtseg.cli.demo import demo
from rtseg.cli.doctor import doctor
from rtseg.cli.evaluate import evaluate
from rtseg.cli.gstreamer import gstreamer
from rtseg.cli.label import label
from rtseg.cli.live import stream, streams, webcam
from rtseg.cli.models import models
from rtseg.cli.report import report
from rtseg.cli.run import run
from rtseg.cli.segment import segment
from rtseg.cli.serve import serve
from rtseg.cli.studio import studio
from rtseg.cli.train import export, train

app = typer.Typer(
    name="rtseg",
    help="Real-time video segmentation: a video goes in, a segmented video comes out.",
    epilog="Example: rtseg run in.mp4 -o out.mp4 --background blur",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"rtseg {version('rtseg')}")
        raise typer.Exit


@app.callback()
def _root(
    _: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and leave."),
) -> None:
    log_to_stderr()


app.command("run", epilog="Example: rtseg run call.mp4 -o blurred.mp4 --background blur:4")(run)
app.command("stream", epilog="Example: rtseg stream rtsp://camera.local/door --to rtmp://127.0.0.1/live/door")(stream)
app.command("webcam", epilog="Example: rtseg webcam --background office.jpg")(webcam)
app.command("streams", epilog="Example: rtseg streams streams.toml")(streams)
app.command("drive", epilog="Example: rtseg drive dashcam.mp4 -o drive/")(drive)
app.command("batch", epilog="Example: rtseg batch dashcam/ -o drives/ --resume")(batch)
app.command("segment", epilog="Example: rtseg segment photos/ -o masks/ --model portrait")(segment)
app.command("serve", epilog="Example: rtseg serve --model portrait --model road --port 8000")(serve)
app.command("studio", epilog="Example: rtseg studio --open")(studio)
app.add_typer(label, name="label")
app.add_typer(models, name="models")
app.command("cameras", epilog="Example: rtseg cameras --json")(cameras)
app.command("doctor", epilog="Example: rtseg doctor --json")(doctor)
app.command("bench", epilog="Example: rtseg bench sample -o out/bench")(bench)
app.command("demo", epilog="Example: rtseg demo -o out/")(demo)
app.command("eval", epilog="Example: rtseg eval --model portrait --model selfie-landscape --data photos/")(evaluate)
app.command("report", epilog="Example: rtseg report drives/ --open")(report)
app.command("train", epilog="Example: rtseg train recipe.toml -o runs/mine")(train)
app.add_typer(export, name="export")
app.command("gstreamer", epilog="Example: rtseg gstreamer")(gstreamer)
