"""A running container as an instance sees it.

Its end is seen by a request that waits for it as long as it takes. While that waits, the output
is copied and the use of the machine is measured: there is no task beside the instance's own. When
the engine goes away, a running container may go on (Podman, Docker with live-restore) or be ended
by the engine's new start; nobody can tell before the engine is back. It has a while for that; then the
container counts as lost, is started anew by policy, and cleared away when the engine is back.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
import trio

from muxi.containers.body import LOOPBACK
from muxi.containers.copying import Copying
from muxi.containers.failures import EngineRefused, EngineUnavailable
from muxi.containers.frames import nanoseconds
from muxi.containers.leftovers import COPY_SECONDS, remove
from muxi.containers.wire import ContainerFacts, Stats
from muxi.errors import OperatorError
from muxi.process import failure
from muxi.process.identity import KILL_TIMEOUT
from muxi.process.spec import ExitReport
from muxi.process.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.containers.engine import Engine
    from muxi.containers.journal import Journal
    from muxi.containers.leftovers import Leftovers
    from muxi.process.spec import ProcessSpec

log = structlog.get_logger()

ENGINE_PATIENCE: Final = 30.0
"""Seconds that an engine may be away before its containers count as lost."""
LOOK_AGAIN: Final = 0.5
CALL_SECONDS: Final = 5.0
LOST: Final = "the container engine went away"


class Keeping(NamedTuple):
    """What a container's handle shares with its placement.

    `measured(process_id, memory, soft limit)` is called with each new measurement, `interval` says
    how many seconds are between two.
    """

    engine: Engine
    leftovers: Leftovers
    measured: Callable[[str, int, int], None]
    interval: Callable[[], float]


class Container:
    """See `Handle` for the contract."""

    identity = None

    def __init__(
        self,
        keeping: Keeping,
        facts: ContainerFacts,
        spec: ProcessSpec,
        journal: Journal,
        token_sha256: str,
        *,
        adopted: bool,
    ) -> None:
        self.container_id = facts.id
        self.pid = facts.state.pid
        self.adopted = adopted
        self.started_at = nanoseconds(facts.state.started_at) / 1e9 or time.time()
        self.usage: Usage | None = None
        self._keeping = keeping
        self._engine = keeping.engine
        self._spec = spec
        self._journal = journal
        self._token_sha256 = token_sha256
        self._copying = Copying(self._engine, facts.id, journal)
        self._stop_signal = facts.config.stop_signal or "SIGTERM"
        self._report: ExitReport | None = None

    async def wait(self) -> None:
        if self._report is not None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._copying.follow)
            nursery.start_soon(self._measure)
            await self._wait_for_end()
            nursery.cancel_scope.cancel()

    async def listens(self, host: str, port: int) -> bool | None:  # noqa: ARG002 - the contract's
        try:
            facts = await self._inspect()
        except EngineUnavailable:
            return None
        if facts is None or not facts.state.running:
            return False
        return is_published(facts, port)

    async def cpu_seconds(self) -> float:
        try:
            return (await self._stats()).cpu_seconds
        except (EngineUnavailable, EngineRefused):
            return 0.0

    async def ask_to_end(self) -> None:
        with suppress(EngineUnavailable):  # it is asked no more then; the caller's deadline decides
            await self._signal(self._stop_signal)
        await self.wait()

    async def end(self, *, expected: bool) -> ExitReport:
        """Kill and remove it; bounded in time. One whose engine is away counts as ended."""
        if self._report is None:
            try:
                self._report = await self._end(expected=expected)
            except (EngineUnavailable, EngineRefused) as error:
                log.warning("container lost", container=self.container_id[:12], reason=error.message)
                await self._keeping.leftovers.lose(self.container_id, self._token_sha256)
                self._report = ExitReport(None, None, expected, at=time.time(), cause=LOST)
        return self._report

    def let_go(self) -> None:
        """Nothing is held of it here."""

    async def log_tail(self) -> list[str]:
        return await trio.to_thread.run_sync(failure.log_tail, self._spec, self._journal.began)

    async def _end(self, *, expected: bool) -> ExitReport:
        await self._signal("SIGKILL")
        with trio.move_on_after(KILL_TIMEOUT):
            await self._wait_for_end()
        facts = await self._inspect()
        if facts is None:
            await self._forget()
            return ExitReport(None, None, expected, at=time.time(), cause="somebody removed its container")
        if facts.state.running:
            raise _does_not_end(self.container_id)
        await self._copying.finish(COPY_SECONDS)
        await self._clear_away()
        return exit_report(facts, expected=expected, memory_limit=self._spec.limits.memory)

    async def _clear_away(self) -> None:
        try:
            await remove(self._engine, self.container_id)
        except (EngineUnavailable, EngineRefused) as error:
            log.warning("container not removed", container=self.container_id[:12], reason=error.message)
            await self._keeping.leftovers.lose(self.container_id, self._token_sha256)
        else:
            await self._forget()

    async def _forget(self) -> None:
        leftovers = self._keeping.leftovers
        await leftovers.forget(leftovers.path(self.container_id))

    async def _wait_for_end(self) -> None:
        """Return when it has ended, is gone, or its engine has been away for too long."""
        path = f"/containers/{self.container_id}/wait"
        while True:
            try:
                async with self._engine.stream("POST", path, params={"condition": "not-running"}) as answer:
                    if b"StatusCode" in b"".join([piece async for piece in answer]):
                        return  # an engine that is about to end says nothing, and closes
            except EngineRefused as error:
                if error.answer == 404:
                    return
            except EngineUnavailable as error:
                log.info("engine away", container=self.container_id[:12], reason=error.message)
            if not await self._engine_is_back():
                return

    async def _engine_is_back(self) -> bool:
        with trio.move_on_after(ENGINE_PATIENCE):
            while True:
                await trio.sleep(LOOK_AGAIN)  # nobody tells when an engine is back
                try:
                    await self._engine.version()
                except (EngineUnavailable, EngineRefused):
                    continue
                return True
        return False

    async def _signal(self, name: str) -> None:
        path = f"/containers/{self.container_id}/kill"
        try:
            await self._engine.send("POST", path, params={"signal": name}, seconds=CALL_SECONDS)
        except EngineRefused as error:  # gone, or not running: how it stands is seen next
            log.debug("not signalled", container=self.container_id[:12], reason=error.said)

    async def _inspect(self) -> ContainerFacts | None:
        try:
            path = f"/containers/{self.container_id}/json"
            return await self._engine.get(path, ContainerFacts, seconds=CALL_SECONDS)
        except EngineRefused as error:
            if error.answer == 404:
                return None
            raise

    async def _stats(self) -> Stats:
        params = {"stream": "0", "one-shot": "1"}
        return await self._engine.get(
            f"/containers/{self.container_id}/stats", Stats, params=params, seconds=CALL_SECONDS
        )

    async def _measure(self) -> None:
        while True:
            try:
                stats = await self._stats()
            except (EngineUnavailable, EngineRefused):
                self.usage = None
            else:
                self.usage = usage_of(stats, time.time())
                self._keeping.measured(
                    self._spec.process_id, self.usage.memory, self._spec.limits.memory_soft
                )
            await trio.sleep(self._keeping.interval())


def usage_of(stats: Stats, now: float) -> Usage:
    """Make a usage of what an engine tells: it counts threads, and no open files. Pure."""
    return Usage(
        processes=stats.tasks,
        threads=stats.tasks,
        memory=stats.memory,
        cpu_seconds=round(stats.cpu_seconds, 2),
        open_files=None,
        at=now,
    )


def exit_report(facts: ContainerFacts, *, expected: bool, memory_limit: int) -> ExitReport:
    """Say how a container ended. Pure. From 128 on its exit code tells of a signal, as a shell's does."""
    state = facts.state
    number = state.exit_code - 128
    signalled = 0 < number < signal.NSIG
    oom = state.o_o_m_killed and not expected and state.exit_code == 128 + 9
    ended = nanoseconds(state.finished_at) / 1e9 if state.finished_at else 0.0
    return ExitReport(
        status=None if signalled else state.exit_code & 0xFF,
        signal_number=number if signalled else None,
        expected=expected,
        at=ended or time.time(),
        oom=oom,
        memory_limit=memory_limit if oom else 0,
    )


def is_published(facts: ContainerFacts, port: int) -> bool:
    ports = (facts.network_settings.ports if facts.network_settings is not None else None) or {}
    return any(
        binding.host_port == str(port) and binding.host_ip in {LOOPBACK, ""}
        for bindings in ports.values()
        for binding in bindings or ()
    )


def _does_not_end(container_id: str) -> OperatorError:
    return OperatorError(
        f"The container {container_id[:12]} can't be killed.",
        code="StopError",
        cure="See in the engine's log why (journalctl -u docker); a process waiting for a device can't be.",
    )
