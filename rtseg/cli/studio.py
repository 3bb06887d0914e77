"""`rtseg studio`: the page that shows a camera with its background replaced."""

from __future__ import annotations

from typing import Annotated

import typer

from rtseg.cli.options import Host, Port, Providers, Threads, Token, names_of


def studio(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model to choose from; give several, the first is the usual one.", metavar="NAME"),
    ] = None,
    token: Token = None,
    cameras: Annotated[int, typer.Option(help="That may come at once.", min=1)] = 8,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    providers: Providers = None,
    threads: Threads = None,
) -> None:
    """Serve the studio page: your camera, its background replaced, in your browser."""
    from rtseg.cli.console import stderr
    from rtseg.cli.serve import run_service
    from rtseg.service.settings import Settings

    names = names_of(providers)
    settings = Settings(
        models=tuple(model or ("portrait", "portrait-fast", "portrait-studio")),
        host=host,
        port=port,
        token=token or None,
        workers=1,
        providers=None if names is None else tuple(names),
        threads=threads,
        studio=True,
        cameras=cameras,
    )

    def started(address: str) -> None:
        stderr().print(f"the studio is at {address}/studio/", markup=False)
        if open_page:
            import webbrowser

            webbrowser.open(f"{address}/studio/")

    run_service(settings, started=started)
