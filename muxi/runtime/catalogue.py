"""All runtimes that this server knows, and the way from a formation to the one that runs it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import trio

from muxi.runtime.choice import AUTO, choose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Prepared, Presence, Request, Runtime


class Runtimes:
    """The runtimes by name. Used by many tasks at once."""

    def __init__(self, runtimes: Iterable[Runtime], preferred: str = AUTO) -> None:
        """`preferred` is what MUXI formations are to run on, where there is a choice."""
        self._by_name = {runtime.name: runtime for runtime in runtimes}
        self.preferred = preferred

    async def presences(self) -> Mapping[str, Presence]:
        """Look which can be used here, side by side."""
        found: dict[str, Presence] = {}

        async def look(runtime: Runtime) -> None:
            found[runtime.name] = await runtime.presence()

        async with trio.open_nursery() as nursery:
            for runtime in self._by_name.values():
                nursery.start_soon(look, runtime)
        return {name: found[name] for name in self._by_name}

    async def check(self, program: Program, release_dir: Path) -> None:
        """Say what would keep a program from running here, without network or change. Raises MuxiError."""
        choice = choose(program, await self.presences(), preferred=self.preferred)
        await trio.to_thread.run_sync(self._by_name[choice.name].check, program, release_dir)

    async def prepare(self, request: Request) -> Prepared:
        """Choose, and have that one prepare. Raises MuxiError."""
        decided = request.pin is not None or request.program.kind == "native"
        presences = {} if decided else await self.presences()  # an engine that hangs delays nobody else
        choice = choose(request.program, presences, request.pin, self.preferred)
        prepared = await self._by_name[choice.name].prepare(request)
        return replace(prepared, pin=msgspec.structs.replace(prepared.pin, reason=choice.reason))
