"""Measuring all processes now and then, and holding to their memory those that no group holds.

There is no event for "uses more memory than before", so this is one of the few things that are
looked at again and again: all formations in one walk over /proc, in a thread. Whoever asks what a
formation uses gets the latest answer; nobody waits for a new one.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

import structlog
import trio

from muxi.config.values import format_size
from muxi.process import procfs, tree
from muxi.process.usage import Root, Usage, Walk

if TYPE_CHECKING:
    from muxi.process.confinement import Confinement, Confiner

log = structlog.get_logger()

WATCH_INTERVAL = 2.0
"""Seconds between two looks at the memory of processes that only we hold to it."""


class Reading(NamedTuple):
    """What is seen of one process: its usage, how many of its were killed for memory, whether it lives."""

    usage: Usage | None
    oom_kills: int
    alive: bool


Measure = Callable[[Collection["Confinement"]], Awaitable[Mapping[int, Reading]]]
"""Measures processes; returns a reading by pid."""


class Meter:
    """Measures what the confiner's processes use, every `interval` seconds.

    `on_soft_limit(process_id, memory)` is called when one is past its soft limit, and says whether
    something is done about it: if not, it is called again at the next look, else only after it has
    been below, or has been started anew. It must not wait.
    """

    def __init__(
        self,
        confiner: Confiner,
        interval: float,
        *,
        on_soft_limit: Callable[[str, int], bool] | None = None,
        measure: Measure | None = None,
    ) -> None:
        self._confiner = confiner
        self._interval = interval
        self._on_soft_limit = on_soft_limit
        self._measure = measure or InThread()

    async def run(self) -> None:
        """Measure until cancelled."""
        grouped = self._confiner.groups.version_of("memory") is not None
        tick = self._interval if grouped else min(self._interval, WATCH_INTERVAL)
        due = trio.current_time()
        while True:
            members = tuple(self._confiner)
            is_due = trio.current_time() >= due
            if is_due:
                due = trio.current_time() + self._interval
            if members and (is_due or any(one.watched for one in members)):
                await self._round(members)
            await trio.sleep(tick)

    async def _round(self, members: Collection[Confinement]) -> None:
        try:
            readings = await self._measure(members)
        except Exception:  # what is not measured once is measured the next time
            log.exception("measuring failed")
            return
        for one in members:
            reading = readings.get(one.pid)
            if reading is not None and not one.closed:
                self._judge(one, reading)

    def _judge(self, one: Confinement, reading: Reading) -> None:
        _tell_helpers(one, reading)
        one.usage = reading.usage
        if reading.usage is None:
            return
        memory, limits = reading.usage.memory, one.limits
        if one.watched and memory > limits.memory:
            _kill(one, memory)
            return
        above = bool(limits.memory_soft) and memory > limits.memory_soft
        if above and not one.soft_told:
            log.info("past its soft memory limit", process=one.process_id, memory=format_size(memory))
            if self._on_soft_limit is not None and not self._on_soft_limit(one.process_id, memory):
                return
        one.soft_told = above


def _kill(one: Confinement, memory: int) -> None:
    if one.over_memory or not one.provable():
        return  # it is dying, or has ended; its owner sees to the rest
    one.over_memory = True
    limit = format_size(one.limits.memory)
    log.warning("killed for its memory", process=one.process_id, memory=memory, limit=limit)
    tree.signal_group(one.pid, signal.SIGKILL)


def _tell_helpers(one: Confinement, reading: Reading) -> None:
    """Tell of processes killed for want of memory that the formation has survived.

    A first process that is killed itself takes a while to die, so it must have lived on from one
    round to the next.
    """
    if reading.alive and one.kills_seen > one.kills_told:
        count = one.kills_seen - one.kills_told
        one.kills_told = one.kills_seen
        limit = format_size(one.limits.memory)
        log.warning("helper processes ran out of memory", process=one.process_id, count=count, limit=limit)
    one.kills_seen = reading.oom_kills


class InThread:
    """Measures in a worker thread."""

    def __init__(self, walk: Walk | None = None) -> None:
        """Begin with nothing known, unless a walk is given."""
        self._walk = walk or Walk()

    async def __call__(self, members: Collection[Confinement]) -> Mapping[int, Reading]:
        return await trio.to_thread.run_sync(self._read, members)

    def _read(self, members: Collection[Confinement]) -> Mapping[int, Reading]:
        roots = [Root(one.pid, one.token_sha256) for one in members]
        usages = self._walk.measure(roots, time.time())
        return {
            one.pid: Reading(
                usages.get(one.pid),
                0 if one.group is None else one.group.oom_kills(),
                procfs.is_alive(one.pid),
            )
            for one in members
        }
