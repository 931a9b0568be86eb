"""How a bundle is refused: always in the same words, with the member's name where there is one."""

from __future__ import annotations

from muxi.errors import BundleError

MAX_SHOWN = 120


def refused(reason: str, *, member: str | None = None, cure: str | None = None) -> BundleError:
    """Make the error for a bundle that can't be extracted; `reason` ends the sentence."""
    return BundleError(
        f"Failed to extract bundle: {reason}",
        stage="extracting",
        cure=cure,
        details=None if member is None else {"member": shown(member)},
    )


def shown(name: str) -> str:
    """Write a stranger's name so that it can stand in a message: escaped and not too long."""
    text = "".join(character if character.isprintable() else _escaped(character) for character in name)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
