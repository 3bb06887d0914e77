"""`rtseg stream`, `rtseg webcam` and `rtseg streams`: live inputs to live outputs, changed by keys while they run."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtseg.cli.options import (
    Background,
    Framing,
    KeepHeld,
    Model,
    Overlay,
    Preset,
    Providers,
    Quiet,
    Subject,
    Threads,
    names_of,
)

if TYPE_CHECKING:
    from rtseg.live.fleet import Fleet
    from rtseg.live.options import StreamOptions
    from rtseg.live.stream import StreamStatus
    from rtseg.live.streamset import StreamSet

Sinks = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        help="Where it goes: rtmp://, rtsp://, udp://, tcp://, mjpeg:PORT, camera, window or FILE.mp4; once for each.",
        metavar="OUT",
    ),
]
Rate = Annotated[
    float | None, typer.Option(help="The most frames a second that are looked at; usually all.", metavar="FPS", min=0.1)
]
Mirror = Annotated[bool, typer.Option("--mirror", help="Exchange left and right.")]
Lowest = Annotated[
    str,
    typer.Option(help="How far it may be reduced under load: full, adaptive, lighter, or 'half rate'.", metavar="STEP"),
]


def stream(
    source: Annotated[
        str, typer.Argument(help="rtsp://, rtmp://, http://, udp://, camera, screen, or a file.", metavar="IN")
    ],
    to: Sinks = None,
    background: Background = None,
    overlay: Overlay = None,
    model: Model = None,
    framing: Framing = None,
    mirror: Mirror = False,
    preset: Preset = None,
    subject: Subject = None,
    keep_held: KeepHeld = False,
    rate: Rate = None,
    lowest: Lowest = "half rate",
    loop: Annotated[bool, typer.Option("--loop", help="Begin a file anew at its end.")] = False,
    providers: Providers = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Segment a live input for as long as it lasts, and send it on. Whatever is lost is opened again."""
    from rtseg.errors import ConfigError

    if not to:
        raise ConfigError("nothing to send to: give --to rtmp://..., --to mjpeg:8090, --to camera or --to out.mp4")
    _run(
        _options(
            source,
            to,
            background,
            overlay,
            model,
            framing,
            mirror,
            rate,
            lowest,
            providers,
            threads,
            loop=loop,
            preset=preset,
            subject=subject,
            keep_held=keep_held,
        ),
        quiet=quiet,
    )


def webcam(
    camera: Annotated[
        str, typer.Argument(help="camera, camera:1, /dev/video2, or anything `rtseg stream` takes.", metavar="CAMERA")
    ] = "camera",
    to: Sinks = None,
    background: Background = "blur",
    overlay: Overlay = None,
    model: Model = None,
    framing: Framing = None,
    mirror: Mirror = False,
    preset: Preset = "auto",
    subject: Subject = None,
    keep_held: KeepHeld = False,
    rate: Rate = None,
    lowest: Lowest = "half rate",
    providers: Providers = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Blur what is behind you in every call: the first camera to a virtual camera, else to a window, else to a page."""
    outputs = to or [_usual_output()]
    options = _options(
        camera,
        outputs,
        background,
        overlay,
        model,
        framing,
        mirror,
        rate,
        lowest,
        providers,
        threads,
        preset=preset,
        subject=subject,
        keep_held=keep_held,
    )
    _run(options, note="" if to else _where(outputs[0]), quiet=quiet)


def streams(
    file: Annotated[Path, typer.Argument(help="A TOML file with a table [[streams]] for each.", metavar="FILE.toml")],
    quiet: Quiet = False,
) -> None:
    """Run many live streams around shared networks until they all end, or until it is interrupted."""
    from rtseg.cli.interrupts import stop_on_signal
    from rtseg.errors import ConfigError
    from rtseg.live.fleet import open_fleet
    from rtseg.live.options import read_streams

    found = read_streams(file)
    if not found.streams:
        raise ConfigError(f"{file} has no stream: add a table [[streams]] with name, source and sinks")
    if viewless := [options.name for options in found.streams if not options.sinks]:
        raise ConfigError(f"{file}: {', '.join(viewless)} would go nowhere: give each sinks")
    with stop_on_signal(quiet=quiet) as interruption:
        made = open_fleet(found)
        try:
            _show_until_the_end(made, interruption.event, quiet=quiet)
            code = _code(made, interruption.exit_code)
        finally:
            made.close()
    if code:
        raise typer.Exit(code)


def _options(
    source: str,
    to: list[str],
    background: str | None,
    overlay: str | None,
    model: str | None,
    framing: str | None,
    mirror: bool,
    rate: float | None,
    lowest: str,
    providers: str | None,
    threads: int | None,
    *,
    loop: bool = False,
    preset: str | None = None,
    subject: str | None = None,
    keep_held: bool = False,
) -> StreamOptions:
    from rtseg.live.options import parse_stream
    from rtseg.subject import parse_who

    hidden = None if background == "none" else background
    usual = "road" if overlay is not None and hidden is None else "portrait"
    camera: dict[str, Any] = {"framing": None if framing == "none" else framing, "mirror": mirror}
    scene: dict[str, Any] | None = {"background": hidden, "overlay": overlay, **camera}
    if background is None and overlay is None:
        scene = {"background": "blur", **camera} if model in (None, "portrait") else None
    network: dict[str, Any] = {"name": model or usual, "threads": threads, "providers": names_of(providers)}
    network |= {"subject": None if subject is None else parse_who(subject), "keep_held": keep_held or None}
    network["preset"] = preset
    return parse_stream(
        {
            "source": source,
            "loop": loop,
            "model": {key: value for key, value in network.items() if value is not None},
            "scene": scene,
            "sinks": to,
            "rate": rate,
            "lowest": lowest,
            "attempts": 1,  # a camera that is not there is told at once; one that goes away later is waited for
        }
    )


def _run(options: StreamOptions, *, note: str = "", quiet: bool) -> None:
    """One stream until it ends or is interrupted, with keys where there is a terminal or a window. note: said first."""
    from rtseg.cli.console import log_to_stderr, print_error, stderr
    from rtseg.cli.interrupts import stop_on_signal
    from rtseg.cli.keyboard import keyboard
    from rtseg.errors import RtsegError
    from rtseg.live.keys import HELP, pressed
    from rtseg.live.streamset import StreamSet

    log_to_stderr(quiet=quiet)
    with stop_on_signal(quiet=quiet) as interruption:

        def hit(key: str) -> None:
            live = made.get(options.name)
            wish = pressed(key, live.scene, first=options.scene.background if options.scene else None)
            if wish is None:
                interruption.event.set()
            elif wish:
                try:
                    live.change(**wish)
                except RtsegError as error:
                    print_error(str(error))

        made = StreamSet(capacity=None, on_key=hit)
        try:
            made.add(options)
            if note and not quiet:
                stderr().print(note, markup=False)
            with keyboard(hit) as listening:
                if listening and not quiet:
                    stderr().print("keys: " + ", ".join(f"{key} {what}" for key, what in HELP.items()), markup=False)
                _show_until_the_end(made, interruption.event, quiet=quiet)
            code = _code(made, interruption.exit_code)
        finally:
            made.close()
    if code:
        raise typer.Exit(code)


def _code(made: StreamSet | Fleet, signalled: int | None) -> int:
    """What the process ends with; why streams failed is said."""
    from rtseg.cli.console import print_error

    failed = {name: status for name, status in made.list().items() if status.state == "failed"}
    for name, status in failed.items():
        print_error(f"stream {name}: {status.error}")
    return signalled or (5 if failed else 0)


def _show_until_the_end(made: StreamSet | Fleet, stop: threading.Event, *, quiet: bool) -> None:
    """A line a stream, drawn anew twice a second on a terminal, and every half minute elsewhere."""
    from rtseg.cli.console import stderr

    console, told = stderr(), time.monotonic()
    if not quiet and console.is_terminal:
        from rich.live import Live
        from rich.text import Text

        with Live(console=console, refresh_per_second=2, transient=True) as screen:
            while not stop.wait(0.5) and _any_runs(made):
                screen.update(Text("\n".join(map(line, made.list().values()))))
        return
    while not stop.wait(0.2) and _any_runs(made):
        if not quiet and time.monotonic() - told > 30:
            told = time.monotonic()
            for status in made.list().values():
                console.print(line(status), markup=False)


def _any_runs(made: StreamSet | Fleet) -> bool:
    return any(status.state not in ("ended", "failed") for status in made.list().values())


def line(status: StreamStatus) -> str:
    """A stream in one line: how it is, how fast, how late, and what gave way."""
    latency = max((sink.latency.p95 for sink in status.sinks.values() if sink.latency), default=None)
    parts = [
        f"{status.name}: {status.state}",
        f"{status.fps:.0f} fps",
        *(() if latency is None else (f"{latency:.0f} ms behind",)),
        *(() if status.rung == "full" else (f"reduced: {status.rung}",)),
        *(() if not status.left_out else (f"{status.left_out} left out",)),
        *(f"{name} {sink.state.value}: {sink.error}" for name, sink in status.sinks.items() if sink.error),
        *(() if status.error is None else (status.error,)),
    ]
    return ", ".join(parts)


def _usual_output() -> str:
    from rtseg.registry import import_target

    if import_target("rtseg.sinks.virtual_camera:list_virtual_cameras")():
        return "camera"
    return "window" if import_target("rtseg.sinks.window:has_display")() else "mjpeg:8090"


def _where(output: str) -> str:
    match output:
        case "camera":
            return "choose the camera 'rtseg' in your call"
        case "window":
            return "no virtual camera is there (docs/calls.md): showing a window"
        case _:
            return "no virtual camera and no display: watch http://127.0.0.1:8090/"
