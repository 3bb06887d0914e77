"""Every error that rtseg raises on purpose; each names the value, what is allowed and the fix.

::

    RtsegError
    ├── ConfigError (ValueError)               exit 2   an option or a configuration file is wrong
    ├── DependencyMissing (ImportError)        exit 2   an extra or a system library is not installed
    ├── ModelError                             exit 3
    │   ├── ModelNotFound (FileNotFoundError)           no card or no weights of that name
    │   ├── ModelCorrupt (ValueError)                   the weights are not the ones the card describes
    │   ├── ModelRejected (ValueError)                  well-formed, but not safe or not usable
    │   └── DownloadFailed (OSError)                    fetching the weights did not succeed
    ├── EngineError (RuntimeError)             exit 4
    │   ├── ProviderUnavailable                         the asked-for accelerator would not have been used
    │   ├── InferenceFailed                             the session raised, or its output cannot be a mask
    │   │   └── OutOfMemory (MemoryError)               the device has no room: a smaller batch may fit
    │   ├── InferenceTimeout (TimeoutError)             the watchdog ended a run
    │   └── Overloaded                                  one stream more would be more than the network can do
    ├── SourceError (OSError)                  exit 5
    │   ├── SourceNotFound (FileNotFoundError)
    │   ├── SourceUnreadable                            not media, no video, unknown codec, encrypted, empty
    │   ├── SourceTooLarge                              width x height over the cap, refused before decoding
    │   └── SourceStalled (TimeoutError)                nothing arrived in time
    ├── SinkError (OSError)                    exit 6
    │   ├── DiskFull
    │   └── SinkFailed                                  the other end of a live output is gone, or takes nothing
    └── FrameError (ValueError)                exit 2   an array does not have the shape or type of a plane

An error also derives from the builtin that a caller without rtseg in mind would catch. `exit_code` is what the
command line ends with; 0 is done, 1 an internal error, 7 partial (some input was lost, counts are printed),
130 and 143 are SIGINT and SIGTERM.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_PARTIAL = 7


class RtsegError(Exception):
    """The root: `except RtsegError` catches what rtseg raises on purpose and nothing else."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        # OSError and ImportError format their arguments in their own ways; the message is the first one.
        return str(self.args[0]) if self.args else type(self).__name__


class ConfigError(RtsegError, ValueError):
    """An option, a specification string or a configuration file is wrong."""

    exit_code = 2


class DependencyMissing(RtsegError, ImportError):
    """A Python extra or a system library that this feature needs is not installed."""

    exit_code = 2


class FrameError(RtsegError, ValueError):
    """An array that should be a plane, a mask or a picture has the wrong shape, type or size."""

    exit_code = 2


class ModelError(RtsegError):
    """A model cannot be found, trusted or used."""

    exit_code = 3


class ModelNotFound(ModelError, FileNotFoundError):
    """No card of that name, or the card's weights are on none of the searched folders."""


class ModelCorrupt(ModelError, ValueError):
    """The weights are not, bit for bit, the ones that the card describes."""


class ModelRejected(ModelError, ValueError):
    """The graph is well-formed but uses foreign operators, outside files or shapes that its card denies."""


class DownloadFailed(ModelError, OSError):
    """Fetching weights did not succeed; what arrived is kept for resuming."""


class EngineError(RtsegError, RuntimeError):
    """Inference cannot start or go on."""

    exit_code = 4


class ProviderUnavailable(EngineError):
    """The session would run on another provider than the one asked for: a silent fallback, refused."""


class InferenceFailed(EngineError):
    """The session raised, or its output holds NaN or infinity."""


class OutOfMemory(InferenceFailed, MemoryError):
    """The device has no room for the run: a smaller batch or fewer streams may fit."""


class InferenceTimeout(EngineError, TimeoutError):
    """A run went past its deadline and the watchdog ended it."""


class Overloaded(EngineError):
    """One stream more would ask for more than the network was measured to do; nothing was started."""


class SourceError(RtsegError, OSError):
    """Frames cannot be had from a source."""

    exit_code = 5


class SourceNotFound(SourceError, FileNotFoundError):
    """Nothing is at that path or address."""


class SourceUnreadable(SourceError):
    """The input is no media, has no video, an unknown codec, is encrypted, or gives no frame."""


class SourceTooLarge(SourceError):
    """Width x height is over the cap; refused before anything was decoded."""


class SourceStalled(SourceError, TimeoutError):
    """The source is open but nothing arrived in time."""


class SinkError(RtsegError, OSError):
    """Output cannot be written."""

    exit_code = 6


class DiskFull(SinkError):
    """The device has no room left; what was written stays beside the final name as `.part`."""


class SinkFailed(SinkError):
    """The other end of a live output is gone, refuses or takes nothing in time; opening it again may help."""
