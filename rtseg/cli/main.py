"""The `rtseg` command from outside: exit codes, and the promise that no traceback reaches a user.

Imports almost nothing, so that even a Ctrl-C while the rest is imported ends quietly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rtseg.cli.interrupts import leave_on_signal
from rtseg.errors import DependencyMissing, RtsegError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; always ends in SystemExit with one of the codes of `docs/exit-codes.md`."""
    with leave_on_signal() as interruption:
        try:
            from rtseg.cli.app import app

            app(args=None if arguments is None else list(arguments), prog_name="rtseg")
        except Exception as error:
            # After a signal, an error is what became of the SystemExit that it raised.
            raise SystemExit(interruption.exit_code or _tell(error)) from None


def _tell(error: Exception) -> int:
    """Say what went wrong in one line; the exit code for it."""
    from rtseg.cli.console import print_error, print_internal_error

    if isinstance(error, BrokenPipeError) or isinstance(error.__cause__, BrokenPipeError):
        # Whoever read our output has left: say nothing, and keep Python from trying once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    if isinstance(error, ImportError) and _is_missing(error):
        from rtseg.registry import explain_import

        error = explain_import(error)
    if isinstance(error, RtsegError):
        print_error(str(error))
        return error.exit_code
    print_internal_error(error)
    return 1


def _is_missing(error: ImportError) -> bool:
    """A package or a shared object that is not there, as opposed to a name that we misspelt."""
    if isinstance(error, DependencyMissing):
        return False
    ours = error.name is not None and error.name.partition(".")[0] == "rtseg"
    return not ours and (isinstance(error, ModuleNotFoundError) or ".so" in str(error))


if __name__ == "__main__":
    main()
