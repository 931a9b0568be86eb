"""What formations need beside their own files: what it is for, how big, whether it is here, and having it.

All of it comes by itself when the first formation that needs it is deployed. Fetched before, that
deploy need not wait, nor have a network.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from muxi.errors import MuxiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from muxi.images.report import Report

LOOK_SECONDS: Final = 6.0
"""How long all servers together have to say how big things are."""


@dataclass(frozen=True, slots=True)
class Provision:
    """One thing. `size` is in bytes, an estimate until `measure` has been asked, which raises MuxiError.

    `wanted` is the answer that most people would give.
    """

    name: str
    title: str
    purpose: str
    size: int
    present: Callable[[], Awaitable[bool]]
    measure: Callable[[], Awaitable[int | None]]
    fetch: Callable[[Report], Awaitable[None]]
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """What is not here yet. `engine` runs MUXI formations; "": nothing does, and `problem` says why.

    `silent` are those of `missing` whose servers can't be reached.
    """

    engine: str = ""
    problem: str = ""
    missing: tuple[Provision, ...] = ()
    silent: tuple[Provision, ...] = ()


async def unknown() -> int | None:
    return None


async def measure(found: Sequence[Provision]) -> tuple[tuple[Provision, ...], tuple[Provision, ...]]:
    """Ask how big they are, side by side; return them so, and those whose server is silent."""
    sizes: dict[str, int | None] = {}

    async def ask(one: Provision) -> None:
        with suppress(MuxiError):
            sizes[one.name] = await one.measure()

    with trio.move_on_after(LOOK_SECONDS):
        async with trio.open_nursery() as nursery:
            for one in found:
                nursery.start_soon(ask, one)
    measured = tuple(replace(one, size=sizes.get(one.name) or one.size) for one in found)
    return measured, tuple(one for one in measured if one.name not in sizes)
