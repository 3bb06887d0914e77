"""Pictures from addresses that a client names, as `rtseg.fetching` guards them, with failures as HTTP statuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtseg import fetching
from rtseg.errors import ConfigError, SourceError, SourceTooLarge
from rtseg.fetching import Address, is_public
from rtseg.service.refusals import Refusal

__all__ = ["Address", "Fetcher", "is_public"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Gets the bytes behind an http(s) address; see `rtseg.fetching.Fetcher`."""

    max_bytes: int
    timeout: float = 10.0
    redirects: int = 3
    allowed: Callable[[Address], bool] = is_public

    def __call__(self, url: str) -> bytes:
        """The body; Refusal 422 for an address that may not be fetched, 413 for too much, 424 for a failure there."""
        fetch = fetching.Fetcher(
            max_bytes=self.max_bytes, timeout=self.timeout, redirects=self.redirects, allowed=self.allowed
        )
        try:
            return fetch(url)
        except ConfigError as error:
            raise Refusal(422, str(error)) from error
        except SourceTooLarge as error:
            raise Refusal(413, str(error)) from error
        except SourceError as error:
            raise Refusal(424, str(error)) from error
