"""All runtimes that this server knows, and the way from a formation to the one that runs it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from muxi.runtime.choice import AUTO, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from muxi.runtime.choice import Choice
    from muxi.runtime.pin import Pin
    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Prepared, Presence, Request, Runtime

FRESH_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 2.0


class Runtimes:
    """The runtimes by name. Used by many tasks at once."""

    def __init__(self, runtimes: Iterable[Runtime], preferred: Callable[[], str] = lambda: AUTO) -> None:
        """`preferred` says at each use what MUXI formations are to run on, where there is a choice."""
        self._by_name = {runtime.name: runtime for runtime in runtimes}
        self._preferred = preferred
        self._seen: Mapping[str, Presence] = {}
        self._seen_at = -math.inf

    @property
    def preferred(self) -> str:
        return self._preferred()

    async def presences(self) -> Mapping[str, Presence]:
        """Look which can be used here, side by side."""
        found: dict[str, Presence] = {}

        async def look(runtime: Runtime) -> None:
            found[runtime.name] = await runtime.presence()

        async with trio.open_nursery() as nursery:
            for runtime in self._by_name.values():
                nursery.start_soon(look, runtime)
        self._seen, self._seen_at = {name: found[name] for name in self._by_name}, trio.current_time()
        return self._seen

    async def seen(self) -> Mapping[str, Presence]:
        """Return what was found `FRESH_SECONDS` ago at most; or what was known, if looking takes long."""
        if trio.current_time() - self._seen_at > FRESH_SECONDS:
            with trio.move_on_after(LOOK_SECONDS):
                return await self.presences()
        return self._seen

    async def check(self, program: Program, release_dir: Path) -> Choice:
        """Say which runtime would run a program, without network or change.

        Raises MuxiError when something would keep it from running here.
        """
        choice = await self._choose(program, None)
        await trio.to_thread.run_sync(self._by_name[choice.name].check, program, release_dir)
        return choice

    async def prepare(self, request: Request) -> Prepared:
        """Choose, and have that one prepare. Raises MuxiError."""
        choice = await self._choose(request.program, request.pin)
        prepared = await self._by_name[choice.name].prepare(request)
        return replace(prepared, pin=msgspec.structs.replace(prepared.pin, reason=choice.reason))

    async def _choose(self, program: Program, pin: Pin | None) -> Choice:
        decided = pin is not None or program.kind == "native"
        presences = {} if decided else await self.presences()  # an engine that hangs delays nobody else
        return choose(program, presences, pin, self.preferred)
