"""What installers say: which of it is progress for the one who waits, and which explains a failure. Pure."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from muxi.config.values import hide_credentials
from muxi.errors import FormationFailed, MuxiError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT_LINES: Final = 60
"""How many of the last lines go into an error's details."""
INTERVAL: Final = 0.5
"""Seconds between two reports of the same sort."""
_LONGEST: Final = 400
_MOST_FAULTS: Final = 12
_DRAWN: Final = " \u00d7✗│╰├└─▶"
_TOLD: Final = re.compile(
    r"(Collecting|Downloading|Building|Installing|Preparing|Resolved|Prepared|Installed|Using|Updating|Cloning|Created)\b"
)
_PIP_FAULT: Final = re.compile(r"\s*(?:ERROR|error): ")
_UV_FAULT: Final = re.compile(r"\s*(?:error:|[\u00d7✗╰├└])|.*\bhint: ")
_DISK_FULL: Final = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded", re.IGNORECASE)


class Transcript:
    """The lines of one installation, without passwords and control characters; the last are kept."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.disk_full = False

    def add(self, line: str) -> str:
        """Take a line, and return it as it may be shown."""
        shown = hide_credentials("".join(c for c in line if c.isprintable() or c == "\t").rstrip())
        if shown:
            self.lines.append(shown)
            self.disk_full = self.disk_full or bool(_DISK_FULL.search(shown))
        return shown


class Ticker:
    """Lets through what the one who waits should see: each new sort of work, and else not too often."""

    def __init__(self) -> None:
        self._last = ""
        self._at = float("-inf")

    def tell(self, line: str, now: float) -> str | None:
        """Return what to show of a line, None for nothing. `now` is in seconds, of any clock."""
        found = _TOLD.match(line.strip())
        if found is None or (found[1] == self._last and now - self._at < INTERVAL):
            return None
        self._last, self._at = found[1], now
        return line.strip()[:200]


def summary(lines: Iterable[str]) -> str:
    """Return what an installer says went wrong, in its own words; else the last that it said."""
    kept = [line for line in lines if line.strip()]
    first = next((i for i, line in enumerate(kept) if _UV_FAULT.match(line)), None)
    faults = kept[first:] if first is not None else []
    faults = faults or [line for line in kept if _PIP_FAULT.match(line)] or kept[-3:]
    return "; ".join(_short(_PIP_FAULT.sub("", line).strip(_DRAWN)) for line in faults[:_MOST_FAULTS])


def _short(line: str) -> str:
    """Leave the middle out of what is long: pip lists all versions there are, the newest last."""
    text = " ".join(line.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


def failure(transcript: Transcript, what: str) -> MuxiError:
    """Return the error of an installation that failed; `what` says, as a sentence, what did not work."""
    details = {"log_tail": list(transcript.lines)}
    said = summary(transcript.lines) or "the installer said nothing"
    if transcript.disk_full:
        return StorageError(
            f"The disk is full, so {what}: {said}",
            code="DiskFull",
            stage="installing",
            cure="Free some space, for example with `muxi-server runtime prune`, then try again.",
            details=details,
        )
    return FormationFailed(
        f"{what[0].upper()}{what[1:]}: {said}",
        code="InstallFailed",
        stage="installing",
        cure="Mend the requirements, or the way to the package index (environments.* in the configuration).",
        details=details,
    )
