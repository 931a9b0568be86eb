"""A runtime whose processes are put into a sandbox, where the operator or the manifest wants it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from muxi.sandbox.demand import Level

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.process.spec import ProcessSpec
    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Prepared, Presence, Request, Runtime, Surroundings
    from muxi.sandbox.sandbox import Sandbox


class Confined:
    """See `Runtime` for the contract. The runtime within makes processes of this machine."""

    def __init__(self, runtime: Runtime, sandbox: Sandbox) -> None:
        self.name = runtime.name
        self._runtime = runtime
        self._sandbox = sandbox

    async def presence(self) -> Presence:
        return await self._runtime.presence()

    def check(self, program: Program, release_dir: Path) -> None:
        """See `Runtime.check`. For a thread of trio's."""
        self._runtime.check(program, release_dir)
        trio.from_thread.run(self._sandbox.look, program.sandbox)
        self._sandbox.choose(program.sandbox)

    async def prepare(self, request: Request) -> Prepared:
        await self._sandbox.look(request.program.sandbox)
        level = self._sandbox.choose(request.program.sandbox)
        prepared = await self._runtime.prepare(request)
        if level is Level.NONE:
            return prepared

        def spec(around: Surroundings) -> ProcessSpec:
            return self._sandbox.confine(level, prepared.spec(around), request.release_dir, request.state_dir)

        return replace(prepared, description=f"{prepared.description}, {level.value}", spec=spec)
