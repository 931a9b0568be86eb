"""What can be wished for with an update or a rollback, beside the files themselves. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.errors import Unprocessable
from muxi.formation.manifest import STRATEGIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.formation.manifest import Strategy


@dataclass(frozen=True, slots=True)
class UpdateWish:
    """`version` is what the manifest's must be; a `strategy` of None leaves it to the manifest.

    `force`: also when nothing has changed.
    """

    version: str | None = None
    strategy: Strategy | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class RollbackWish:
    """Which release to go back to: its number, its version as its manifest has it, None: the previous."""

    release: int | str | None = None
    strategy: Strategy | None = None


def read_strategy(value: object) -> Strategy | None:
    """Read a strategy's name; None and "" are no wish. Raises Unprocessable."""
    if value is None or value == "":
        return None
    for strategy in STRATEGIES:
        if value == strategy:
            return strategy
    raise Unprocessable(
        "There is no such strategy.",
        code="InvalidStrategy",
        cure=f"Use one of: {', '.join(STRATEGIES)}.",
    )


def read_force(value: object) -> bool:
    """Read a yes or no as clients write it. Raises Unprocessable."""
    text = str(value).lower() if isinstance(value, str | bool) else "?" if value is not None else ""
    if text in {"true", "1", "yes"}:
        return True
    if text in {"", "false", "0", "no"}:
        return False
    raise Unprocessable("`force` must be true or false.", code="InvalidPayload")


def read_release(content: Mapping[str, object]) -> int | str | None:
    """Read which release is meant: `release`, a number, or `version`, a text. Raises Unprocessable."""
    number, version = content.get("release"), content.get("version")
    if isinstance(number, str) and number.isascii() and number.isdigit():
        number = int(number[:9])
    if number is None:
        number = version
    if number is None or number == "":
        return None
    if isinstance(number, bool) or not isinstance(number, int | str):
        raise Unprocessable(
            "`release` must be the number of a release, `version` a version as its manifest has it.",
            code="InvalidPayload",
            cure="Leave both out to go back to the previous release.",
        )
    return number
