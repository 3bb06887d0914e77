"""`rtseg doctor`: what works here, and how to get what does not."""

from __future__ import annotations

import typer

from rtseg.cli.options import Json


def doctor(json: Json = False) -> None:
    """Say what is installed and really works, and how to get the rest; exit code 1 if the core is broken."""
    from dataclasses import asdict

    from rtseg.cli.console import print_json, stdout
    from rtseg.doctor import examine

    report = examine()
    if json:
        topics = {topic: [asdict(check) for check in checks] for topic, checks in report.topics.items()}
        print_json({"ok": not report.broken, **topics})
        raise typer.Exit(1 if report.broken else 0)
    from rich.text import Text

    marks = {"ok": ("ok      ", "green"), "missing": ("missing ", "yellow"), "broken": ("BROKEN  ", "bold red")}
    for topic, checks in report.topics.items():
        stdout().print(Text(topic, style="bold"))
        for check in checks:
            stdout().print(Text.assemble("  ", marks[check.state], f"{check.what}: {check.detail}"), soft_wrap=True)
            if check.fix:
                stdout().print(Text.assemble(("            get it: ", "cyan"), check.fix), soft_wrap=True)
    if report.broken:
        names = ", ".join(check.what for check in report.broken)
        stdout().print(Text(f"rtseg does not work here: mend {names}", style="bold red"), soft_wrap=True)
    raise typer.Exit(1 if report.broken else 0)
