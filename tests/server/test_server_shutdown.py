"""The order of an ending, its budget, and what it says, with parts that take as long as they are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from muxi.errors import StorageError
from muxi.server.notify import Manager
from muxi.server.shutdown import Shutdown, shares

if TYPE_CHECKING:
    from muxi.server.composition import Server

BUDGET = 60.0


@dataclass
class FakeServer:
    """Notes what is done with it, and how much time it was given; each part takes `seconds`."""

    on_stop: str = "stop"
    seconds: dict[str, float] = field(default_factory=dict)
    alive: bool = True
    stubborn: bool = False
    failure: Exception | None = None
    done: list[str] = field(default_factory=list)
    drain_budget: float = 0.0
    reported: bool = False

    def __post_init__(self) -> None:
        settings = SimpleNamespace(on_stop=self.on_stop, shutdown_timeout=BUDGET)
        self.config = SimpleNamespace(server=settings)
        self.fleet = self.listener = self.registry = self.receipts = self.audit = cast("Any", self)
        self.open_connections = 3

    def interrupt(self) -> None:
        self.done.append("interrupt")

    async def drain(self, budget: float) -> int:
        self.drain_budget = budget
        await self._part("drain")
        return 0

    async def end_formations(self) -> None:
        await self._part("end_formations")
        self.alive = self.stubborn

    async def detach(self, budget: float) -> None:
        await self._part("detach")
        if self.failure is not None:
            raise self.failure

    async def flush(self) -> None:
        await self._part("flush")
        if self.failure is not None:
            raise self.failure

    async def last_report(self) -> None:
        await trio.sleep(self.seconds.get("report", 0))
        self.reported = True

    def list(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(id="bot", pid=7 if self.alive else None)]

    async def _part(self, name: str) -> None:
        await trio.sleep(self.seconds.get(name, 0))
        self.done.append(name)


async def ended(fake: FakeServer) -> tuple[bool, float]:
    start = trio.current_time()
    clean = await Shutdown(cast("Server", fake), Manager()).run()
    return clean, trio.current_time() - start


async def test_the_order(autojump_clock: trio.testing.MockClock) -> None:
    fake = FakeServer()
    assert (await ended(fake))[0]
    assert fake.done == ["interrupt", "drain", "end_formations", "flush", "flush", "flush"]
    assert fake.drain_budget == 10


async def test_kept_formations_are_let_go(autojump_clock: trio.testing.MockClock) -> None:
    fake = FakeServer(on_stop="keep")
    assert (await ended(fake))[0]
    assert fake.done == ["drain", "detach", "flush", "flush", "flush"]


async def test_those_that_can_t_be_kept_are_ended(autojump_clock: trio.testing.MockClock) -> None:
    fake = FakeServer(on_stop="keep", failure=StorageError("full"))
    assert not (await ended(fake))[0]
    assert fake.done[:3] == ["drain", "detach", "end_formations"]


async def test_formations_get_what_is_left_but_for_saving(autojump_clock: trio.testing.MockClock) -> None:
    fake = FakeServer(seconds={"drain": 10, "end_formations": 1000})
    clean, seconds = await ended(fake)
    assert not clean
    assert seconds == pytest.approx(55)
    assert fake.done == ["interrupt", "drain", "flush", "flush", "flush"]


async def test_the_whole_never_takes_longer_than_its_budget(autojump_clock: trio.testing.MockClock) -> None:
    fake = FakeServer(seconds={"drain": 10, "end_formations": 1000, "flush": 1000})
    clean, seconds = await ended(fake)
    assert not clean
    assert seconds == pytest.approx(BUDGET)


async def test_a_formation_that_could_not_be_ended_shows(autojump_clock: trio.testing.MockClock) -> None:
    assert not (await ended(FakeServer(stubborn=True)))[0]


async def test_a_disk_that_fails_shows(autojump_clock: trio.testing.MockClock) -> None:
    assert not (await ended(FakeServer(failure=StorageError("full"))))[0]


@given(st.floats(1, 86400))
def test_shares_are_the_whole(budget: float) -> None:
    found = shares(budget)
    assert sum(found) == pytest.approx(budget)
    assert min(found) > 0
    assert found.formations >= budget / 2
