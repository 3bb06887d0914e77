"""Options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

Input: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="A video, a picture, a folder of pictures, a DICOM or NIfTI scan, a stream (rtsp://...), 'camera', "
        "'screen', 'sample', or 'synthetic:GRAPH'.",
        metavar="INPUT",
    ),
]
Background: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="What is behind the person: blur, blur:N (0.5 to 10), bokeh, bokeh:N, bokeh-depth, a picture, a video, "
        "#rrggbb, transparent or none.",
        metavar="WHAT",
    ),
]
Overlay: TypeAlias = Annotated[
    str | None,
    typer.Option(help="What is tinted and named: road, drive, all, or names joined by commas.", metavar="WHAT"),
]
Model: TypeAlias = Annotated[
    str | None, typer.Option(help="A model of `rtseg models list`, a card, a folder or owner/name.", metavar="NAME")
]
Preset: TypeAlias = Annotated[
    Literal["fast", "balanced", "studio", "auto"] | None,
    typer.Option(help="How good a matte is to be: fast, balanced, studio, or auto for what this machine can do."),
]
Subject: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Who is shown: all, largest, or the person at a place from 0,0 to 1,1.", metavar="all|largest|x,y"
    ),
]
KeepHeld: TypeAlias = Annotated[
    bool, typer.Option("--keep-held", help="Keep what the subject holds and moves; of a matte.")
]
Prompts: TypeAlias = Annotated[
    str | None,
    typer.Option(help="What a model that reads looks for, joined by commas: 'a cat, a dog'.", metavar="TEXTS"),
]
Threshold: TypeAlias = Annotated[
    float | None,
    typer.Option(help="The least score of a segment.", min=0.0, max=1.0),
]
MaskThreshold: TypeAlias = Annotated[
    float | None,
    typer.Option(help="From which probability on masks are solid; soft masks stay soft without.", min=0.0, max=1.0),
]
OverlapThreshold: TypeAlias = Annotated[
    float | None,
    typer.Option(help="What share of its area a segment of queries must keep beside others.", min=0.0, max=1.0),
]
Task: TypeAlias = Annotated[
    Literal["semantic", "instance", "panoptic"] | None,
    typer.Option(help="What is made of the picture: semantic, instance or panoptic; usually what the model does."),
]
Window: TypeAlias = Annotated[
    str | None,
    typer.Option(help="What of a scan is shown: lung, bone, soft, or CENTRE,WIDTH.", metavar="WINDOW"),
]
Filters: TypeAlias = Annotated[
    str | None,
    typer.Option(help="What improves masks: smooth, refine, subject, joined by commas, or none.", metavar="NAMES"),
]
Framing: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Follow the subject with the picture: body, head, either with the most it enlarges (head:1.5), or none.",
        metavar="WHAT",
    ),
]
Start: TypeAlias = Annotated[float | None, typer.Option(help="Begin there.", metavar="SECONDS", min=0.0)]
End: TypeAlias = Annotated[float | None, typer.Option(help="End there.", metavar="SECONDS", min=0.0)]
Providers: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Where networks run: auto, or names such as cuda,cpu; usually cpu.", metavar="NAMES"),
]
Threads: TypeAlias = Annotated[
    int | None, typer.Option(help="Threads of the network; usually 1.", metavar="NUMBER", min=1)
]
Hardware: TypeAlias = Annotated[
    str | None,
    typer.Option(help="What decodes a video: none (usual), auto, or a device such as cuda.", metavar="NAME"),
]
Host: TypeAlias = Annotated[
    str, typer.Option(help="The address to listen on; any but this machine's own wants a token.", metavar="ADDRESS")
]
Port: TypeAlias = Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)]
Token: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="What clients send as a bearer token, and the page asks its users for; better in the environment, where "
        "others do not see it.",
        envvar="RTSEG_TOKEN",
        metavar="TOKEN",
        show_default=False,
    ),
]
ConfigFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="A TOML file; options given here go before it.", metavar="FILE.toml")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def names_of(text: str | None) -> list[str] | None:
    """A list of names joined by commas, None for none given."""
    return None if text is None else [name.strip() for name in text.split(",")]
