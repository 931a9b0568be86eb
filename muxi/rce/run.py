"""One process of the code runner under its task: its instance, and its record on disk."""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from muxi.errors import MuxiError
from muxi.process.instance import Instance
from muxi.process.lifecycle import State
from muxi.process.means import Means
from muxi.process.procfs import hash_token
from muxi.rce.record import RunnerRecord, hash_of
from muxi.registry.records import ProcessRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from muxi.process.handle import Handle
    from muxi.process.spec import ProcessSpec
    from muxi.rce.house import House
    from muxi.rce.record import RecordFile
    from muxi.rce.way import Way
    from muxi.runtime.runtime import Prepared

log = structlog.get_logger()

SERVING = frozenset({State.RUNNING, State.UNHEALTHY})


class RunnerRun:
    """`on_ready` is called each time it has become healthy."""

    def __init__(
        self,
        house: House,
        file: RecordFile,
        way: Way,
        prepared: Prepared,
        *,
        port: int,
        on_ready: Callable[[], None],
    ) -> None:
        self._house = house
        self._file = file
        self._way = way
        self._prepared = prepared
        self._on_ready = on_ready
        token = secrets.token_hex(16)
        placement = prepared.placement
        self._mark = ProcessRecord(
            token_sha256=hash_token(token.encode()),
            port=port,
            place="" if placement is None else placement.name,
        )
        spec = replace(prepared.spec(house.surroundings(port)), token=token)
        self.instance = Instance(
            spec, house.policy(), on_change=self._changed, means=Means(launch=self._launch)
        )

    def start(self, nursery: trio.Nursery) -> None:
        """Keep it running, as a task of the nursery."""
        nursery.start_soon(partial(self.instance.run, restart_on_failed_start=True))

    async def go_on(self, nursery: trio.Nursery, left: ProcessRecord) -> bool:
        """Go on with the process of an earlier server, if it is proved that one; say whether it is."""
        handle = await self._house.take_over(left, self.instance.spec)
        if handle is None:
            return False
        log.info("code runner adopted", pid=left.pid, port=left.port)
        state = State(left.state) if left.state in SERVING else State.STARTING
        run = partial(self.instance.run, restart_on_failed_start=True, adopt=handle, adopt_as=state)
        nursery.start_soon(run)
        return True

    async def end(self, *, let_go: bool) -> None:
        """End it, or let it run on for the next server, if that one could prove that it is ours."""
        instance = self.instance
        if let_go and (instance.pid is None or instance.identity is not None or instance.container_id):
            await instance.detach()
            return
        try:
            await instance.stop()
            self._file.put(None)
        except MuxiError as error:
            log.error("code runner not ended", error=error.message)

    async def _launch(self, spec: ProcessSpec) -> Handle:
        """Start it, once it is on disk by what it will be known as ours: we may be killed right after."""
        self._file.put(self._record(self._mark))
        await self._file.flush()
        return await self._house.spawn(spec, self._prepared.placement)

    def _changed(self, instance: Instance) -> None:
        self._file.put(self._record(self._house.recorded(self._mark, instance)))
        if instance.state is State.RUNNING:
            self._on_ready()

    def _record(self, process: ProcessRecord) -> RunnerRecord:
        asked = hash_of(self._way, process.token_sha256)
        return RunnerRecord(process=process, asked=asked, pin=self._prepared.pin)
