"""`rtseg report`: pages of drives that need nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtseg.cli.options import Json, Quiet


def report(
    folder: Annotated[
        Path, typer.Argument(help="A folder with records.jsonl, or one with folders of drives.", metavar="DIR")
    ],
    pictures: Annotated[int, typer.Option(help="On the timeline of a drive; 0 for none.", min=0, max=200)] = 24,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a page of a drive, or of an archive of drives, from their records."""
    from rtseg.cli.console import log_to_stderr, print_json, stderr
    from rtseg.errors import EXIT_PARTIAL
    from rtseg.reports import write_reports

    log_to_stderr(quiet=quiet)
    written = write_reports(folder, pictures=pictures)
    if json:
        print_json({"page": written.first, "pages": list(map(str, written.pages)), "failed": written.failed})
    elif not quiet:
        stderr().print(f"{len(written.pages)} of {len(written.pages) + len(written.failed)} drives: {written.first}")
    if open_page:
        import webbrowser

        webbrowser.open(written.first.resolve().as_uri())
    if written.failed:
        raise typer.Exit(EXIT_PARTIAL)
