"""The `rtseg` command: its subcommands, and the promise that no traceback reaches a user."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from rtseg.cli.bench import bench
from rtseg.cli.console import print_error, print_internal_error
from rtseg.cli.demo import demo
from rtseg.cli.doctor import doctor
from rtseg.cli.interrupts import leave_on_signal
from rtseg.cli.models import models
from rtseg.cli.run import run
from rtseg.cli.segment import segment
from rtseg.errors import DependencyMissing, RtsegError
from rtseg.registry import explain_import

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
    pass


app.command("run", epilog="Example: rtseg run call.mp4 -o blurred.mp4 --background blur:4")(run)
app.command("segment", epilog="Example: rtseg segment photos/ -o masks/ --model portrait")(segment)
app.add_typer(models, name="models")
app.command("doctor", epilog="Example: rtseg doctor --json")(doctor)
app.command("bench", epilog="Example: rtseg bench call.mp4 --background blur")(bench)
app.command("demo", epilog="Example: rtseg demo -o out/")(demo)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; always ends in SystemExit with one of the codes of `docs/exit-codes.md`."""
    try:
        with leave_on_signal():
            app(args=None if arguments is None else list(arguments), prog_name="rtseg")
    except RtsegError as error:
        print_error(str(error))
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        # Whoever read our output has left: say nothing, and keep Python from trying once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except ImportError as error:
        missing = explain_import(error) if _is_missing(error) else None
        if missing is None:
            print_internal_error(error)
            raise SystemExit(1) from None
        print_error(str(missing))
        raise SystemExit(DependencyMissing.exit_code) from None
    except Exception as error:  # what we did not foresee
        print_internal_error(error)
        raise SystemExit(1) from None


def _is_missing(error: ImportError) -> bool:
    """A package or a shared object that is not there, as opposed to a name that we misspelt."""
    ours = error.name is not None and error.name.partition(".")[0] == "rtseg"
    return not ours and (isinstance(error, ModuleNotFoundError) or ".so" in str(error))


if __name__ == "__main__":
    main()
