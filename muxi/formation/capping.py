"""What a manifest asks for, within what the server allows: the stricter of two limits. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from muxi.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

_Number = TypeVar("_Number", int, float)


def stricter(wanted: _Number, most: _Number) -> _Number:
    """Give the stricter one of two limits; 0 is none."""
    return min(wanted, most) if wanted and most else wanted or most


def refuse(problems: Sequence[str]) -> None:
    """Raise RequestError with all problems, if there are any."""
    if problems:
        raise RequestError(
            f"The manifest asks for more than it may have: {'; '.join(problems)}.",
            code="LimitExceeded",
            stage="validating",
            cure="Ask for less in the manifest, or raise the server's limits.",
            details={"problems": list(problems)},
        )
