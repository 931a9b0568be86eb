"""Why a download failed: for good, as users see it, or so that another try is worth it."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from muxi.errors import OperatorError


class DownloadError(OperatorError):
    """A download failed for good. `missing`: the server was reached, and has no such file."""

    default_code = "DownloadError"

    def __init__(
        self,
        message: str,
        *,
        cure: str,
        code: str | None = None,
        status: int | None = None,
        missing: bool = False,
    ) -> None:
        super().__init__(message, code=code, status=status, cure=cure, stage="downloading_sif")
        self.missing = missing


class Interrupted(Exception):
    """A try failed in a way that another one may not. Never leaves this room.

    `reason` completes "the download stopped: …"; `retry_after` is how many seconds the server wants
    us to wait.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


def shown(url: str) -> str:
    """Return a URL as messages and logs may have it: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return "(not a URL)"
