"""`rtseg serve`: pictures over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtseg.cli.options import Host, Port, Providers, Threads, Token, names_of

if TYPE_CHECKING:
    from rtseg.service.fleet import Streams
    from rtseg.service.settings import Settings


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model of `rtseg models list`; give several, the first is the usual one.", metavar="NAME"),
    ] = None,
    token: Token = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that work, a picture at a time each; usually one a core.", min=1)
    ] = None,
    queue: Annotated[int, typer.Option(help="Requests that wait; others are answered 503 at once.", min=0)] = 16,
    max_bytes: Annotated[int, typer.Option(help="Of a picture as it comes.", min=1)] = 20_000_000,
    max_pixels: Annotated[int, typer.Option(help="Of a picture, width times height.", min=1)] = 50_000_000,
    timeout: Annotated[float, typer.Option(help="Seconds for a picture, waiting included.")] = 30.0,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch pictures from public http(s) addresses that clients name.")
    ] = False,
    streams: Annotated[
        Path | None,
        typer.Option(help="Live streams that run beside the pictures, as of `rtseg streams`.", metavar="FILE.toml"),
    ] = None,
    allow_adding: Annotated[
        bool, typer.Option("--allow-adding", help="Let clients add, change and remove streams, not only their scenes.")
    ] = False,
    allow_sources: Annotated[
        list[str] | None,
        typer.Option(
            help="What clients may name as a source: SCHEME://HOST[:PORT], a folder, camera, screen, sample or "
            "synthetic; once for each.",
            metavar="WHAT",
        ),
    ] = None,
    allow_sinks: Annotated[
        list[str] | None,
        typer.Option(
            help="What clients may name as an output: SCHEME://HOST[:PORT], a folder, mjpeg, camera or window.",
            metavar="WHAT",
        ),
    ] = None,
    backgrounds: Annotated[
        list[str] | None,
        typer.Option(help="Pictures and videos, or folders of them, that clients may choose by name.", metavar="PATH"),
    ] = None,
    providers: Providers = None,
    threads: Threads = None,
    studio: Annotated[
        bool, typer.Option("--studio", help="Also the studio page at /studio/, and WebRTC in (WHIP) and out (WHEP).")
    ] = False,
    cameras: Annotated[int, typer.Option(help="That may come by WebRTC at once.", min=1)] = 8,
) -> None:
    """Answer Hugging Face's inference clients, and an API of its own, with pictures; run live streams beside them."""
    from rtseg.service.settings import Settings

    names = names_of(providers)
    more = {} if workers is None else {"workers": workers}
    settings = Settings(
        models=tuple(model or ("portrait",)),
        host=host,
        port=port,
        token=token or None,
        queue=queue,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        timeout=timeout,
        fetch=fetch,
        providers=None if names is None else tuple(names),
        threads=threads,
        studio=studio,
        cameras=cameras,
        **more,
    )

    def live() -> Streams:
        return _open_streams(
            streams, settings.models, allow_adding, allow_sources or (), allow_sinks or (), backgrounds or ()
        )

    run_service(settings, open_streams=live if streams is not None or allow_adding else None)


def run_service(
    settings: Settings,
    *,
    started: Callable[[str], None] | None = None,
    open_streams: Callable[[], Streams] | None = None,
) -> None:
    """Serve until told to leave; started: called with the address once it answers. open_streams: gives live streams."""
    import contextlib
    import sys

    from rtseg.cli.console import stderr
    from rtseg.registry import import_target

    server = import_target("rtseg.service.server:serve", extra="serve")
    if settings.studio:
        import_target("rtseg.service.live_routes:add_live", extra="webrtc")  # before models are loaded
    from rtseg.service.app import Service
    from rtseg.service.logs import log_requests
    from rtseg.service.server import listen
    from rtseg.service.work import cards_of
    from rtseg.service.workers import Workers

    with contextlib.closing(listen(settings)) as sock:
        cards = list(cards_of(settings).values())
        log_requests(sys.stderr, settings.token)
        live = None if open_streams is None else open_streams()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{host}:{sock.getsockname()[1]}"

        def told() -> None:
            stderr().print(f"listening on {address}", markup=False)
            if started is not None:
                started(address)

        server(Service(settings, Workers(settings), cards=cards, streams=live), sock, started=told)


def _open_streams(
    file: Path | None,
    models: Sequence[str],
    add: bool,
    sources: Sequence[str],
    sinks: Sequence[str],
    backgrounds: Sequence[str],
) -> Streams:
    """The streams of a file, running; what is wrong with one is raised, and none is left."""
    from rtseg.live.fleet import open_fleet
    from rtseg.live.options import StreamsFile, read_streams
    from rtseg.service.allow import Allowed, list_backgrounds, parse_place
    from rtseg.service.fleet import Streams

    found = StreamsFile() if file is None else read_streams(file)
    allowed = Allowed(
        add=add,
        sources=tuple(map(parse_place, sources)),
        sinks=tuple(map(parse_place, sinks)),
        backgrounds=list_backgrounds(backgrounds),
        models=frozenset({*models, *(stream.model_options.name for stream in found.streams)}),
    )
    return Streams(open_fleet(found), allowed)
