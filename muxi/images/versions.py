"""Versions of the MUXI runtime, as manifests ask for them and as images have them. Pure.

Grammar: `latest`, `1`, `1.2` or `1.2.3`, and after a colon the variant. Numbers are compared as
numbers: 1.10.0 is newer than 1.9.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from muxi.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

LATEST: Final = "latest"
LEAN: Final = "lean"
CUDA: Final = "cuda"
VARIANTS: Final = (LEAN, "pytorch", CUDA)
OLD_NAMES: Final = {"cpu": LEAN, "gpu": "pytorch"}
"""What older documents call the variants."""

_NUMBERS = re.compile(r"\d{1,9}(\.\d{1,9}){0,2}", re.ASCII)
_SHOWN = 40
"""How much of a malformed version is repeated to who wrote it."""


class Version(NamedTuple):
    """An exact version; ordered as numbers."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: the first of three numbers, none for the latest, and a variant."""

    numbers: tuple[int, ...] = ()
    variant: str = LEAN

    @property
    def exact(self) -> Version | None:
        """The one version that will do, if it is one."""
        return Version(*self.numbers) if len(self.numbers) == 3 else None

    def matches(self, version: Version) -> bool:
        return version[: len(self.numbers)] == self.numbers

    def best(self, versions: Iterable[Version]) -> Version | None:
        """Return the newest that will do, None if none will."""
        return max(filter(self.matches, versions), default=None)

    def __str__(self) -> str:
        return named(".".join(map(str, self.numbers)) or LATEST, self.variant)


def named(version: str, variant: str) -> str:
    """Return the text of a version with its variant, as manifests have it: the lean one has no suffix."""
    return version if variant == LEAN else f"{version}:{variant}"


def parse(text: str | None) -> Wanted:
    """Read what a manifest asks for; nothing is `latest`. Raises RequestError (InvalidRuntime)."""
    number, colon, suffix = (text or "").strip().lower().partition(":")
    variant = OLD_NAMES.get(suffix.strip(), suffix.strip())
    if colon and variant not in VARIANTS:
        raise _invalid(
            f"The runtime {_quoted(text)} has an unknown variant", f"Use one of: {', '.join(VARIANTS)}."
        )
    variant, number = variant or LEAN, number.strip()
    if number in {"", LATEST}:
        return Wanted(variant=variant)
    if _NUMBERS.fullmatch(number) is None:
        raise _invalid(
            f"The runtime {_quoted(text)} is not a version",
            "Write latest, 1, 1.2 or 1.2.3, and after a colon the variant if need be: 1.2:cuda.",
        )
    return Wanted(tuple(map(int, number.split("."))), variant)


def parse_version(text: str) -> Version | None:
    """Read an exact version, with or without a `v` before it; None if it is none."""
    number = text.strip().removeprefix("v")
    if _NUMBERS.fullmatch(number) is None or number.count(".") != 2:
        return None
    return Version(*map(int, number.split(".")))


def unsatisfiable(wanted: Wanted, there_are: Iterable[Version], where: str) -> RequestError:
    """Say that no version will do, and which there are; `where` says where these are."""
    listed = sorted(set(there_are), reverse=True)
    shown = ", ".join(map(str, listed[:10])) + (" …" if len(listed) > 10 else "")
    return RequestError(
        f"No version of the MUXI runtime is {wanted}; {where}: {shown or 'none'}.",
        code="ResolveError",
        stage="resolving_runtime",
        cure="Name one of these in `muxi_runtime`, or an exact version that the mirror has."
        if listed
        else "Name an exact version in `muxi_runtime`, or install one: muxi-server runtime install 1.2.3",
    )


def _quoted(text: str | None) -> str:
    shown = (text or "")[:_SHOWN]
    return f"'{''.join(c if c.isprintable() else '?' for c in shown)}'"


def _invalid(what: str, cure: str) -> RequestError:
    return RequestError(f"{what}.", code="InvalidRuntime", stage="resolving_runtime", cure=cure)
