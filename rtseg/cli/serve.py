"""`rtseg serve`: pictures over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from rtseg.cli.options import Providers, Threads, names_of

if TYPE_CHECKING:
    from rtseg.service.settings import Settings


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but this machine's own wants a token.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)] = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model of `rtseg models list`; give several, the first is the usual one.", metavar="NAME"),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="What clients send as a bearer token; better in the environment, where others do not see it.",
            envvar="RTSEG_TOKEN",
            metavar="TOKEN",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Pictures at a time; usually a core each.", min=1)] = None,
    queue: Annotated[int, typer.Option(help="Requests that wait; others are answered 503 at once.", min=0)] = 16,
    max_bytes: Annotated[int, typer.Option(help="Of a picture as it comes.", min=1)] = 20_000_000,
    max_pixels: Annotated[int, typer.Option(help="Of a picture, width times height.", min=1)] = 50_000_000,
    timeout: Annotated[float, typer.Option(help="Seconds for a picture, waiting included.")] = 30.0,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch pictures from public http(s) addresses that clients name.")
    ] = False,
    providers: Providers = None,
    threads: Threads = None,
    studio: Annotated[
        bool, typer.Option("--studio", help="Also the studio page at /studio/, and WebRTC in (WHIP) and out (WHEP).")
    ] = False,
    cameras: Annotated[int, typer.Option(help="That may come by WebRTC at once.", min=1)] = 8,
) -> None:
    """Answer Hugging Face's inference clients, and an API of its own, with segments and composited pictures."""
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
    run_service(settings)


def run_service(settings: Settings, *, started: Callable[[str], None] | None = None) -> None:
    """Serve until told to leave; started: called with the address once it answers."""
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
    from rtseg.service.workers import load_models

    with contextlib.closing(listen(settings)) as sock:
        models = load_models(settings)
        log_requests(sys.stderr, settings.token)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{host}:{sock.getsockname()[1]}"

        def told() -> None:
            stderr().print(f"listening on {address}", markup=False)
            if started is not None:
                started(address)

        server(Service(settings, models), sock, started=told)
