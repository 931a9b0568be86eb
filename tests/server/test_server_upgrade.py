"""Settling before an upgrade, and the step into the next program, where it fails."""

from __future__ import annotations

import os
import signal
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import trio
import trio.testing

from muxi.errors import ConfigError, OperatorError, StorageError
from muxi.server.check import check_program
from muxi.server.inheritance import Handover
from muxi.server.program import Program
from muxi.server.signals import SignalBox
from muxi.server.upgrade import let_go, settle, take_place

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.server.composition import Server


class Requests:
    """A listener with requests that end by the clock: (start, end), in seconds from the beginning."""

    def __init__(self, *spans: tuple[float, float], holding: float = 0.0) -> None:
        self.spans = spans
        self.retired = 0
        self._start = trio.current_time()
        self._holding = holding

    @property
    def now(self) -> float:
        return trio.current_time() - self._start

    def retire(self) -> None:
        self.retired += 1

    def busy(self) -> frozenset[tuple[float, float]]:
        return frozenset(span for span in self.spans if span[0] <= self.now < span[1])

    @property
    def server(self) -> Server:
        return cast("Server", SimpleNamespace(listener=self, routes=self))

    @property
    def live(self) -> dict[str, SimpleNamespace]:
        return {"bot": SimpleNamespace(traffic=SimpleNamespace(holding=int(self.now < self._holding)))}


async def test_without_requests_it_takes_a_second(autojump_clock: trio.testing.MockClock) -> None:
    requests = Requests()
    assert await settle(requests.server, 30)
    assert requests.now == pytest.approx(1)
    assert requests.retired > 1


async def test_short_requests_that_never_cease_hold_nothing_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    requests = Requests(*((n / 10, n / 10 + 0.5) for n in range(-10, 1000)))
    assert await settle(requests.server, 30)
    assert requests.now == pytest.approx(1)


async def test_a_long_one_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    requests = Requests((-5, 7.5))
    assert await settle(requests.server, 30)
    assert requests.now == pytest.approx(8)


async def test_but_not_beyond_the_budget(autojump_clock: trio.testing.MockClock) -> None:
    requests = Requests((-5, 1000))
    assert not await settle(requests.server, 30)
    assert requests.now == pytest.approx(30)


async def test_who_waits_for_a_formation_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    requests = Requests(holding=4.5)
    assert await settle(requests.server, 30)
    assert requests.now == pytest.approx(5)


def test_a_program_that_can_t_be_executed_leaves_all_as_it_was(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, (tmp_path / "lock").open("wb") as lock:
        handover = Handover(
            pid=os.getpid(),
            sockets=(sock.fileno(),),
            lock=lock.fileno(),
            host="127.0.0.1",
            port=0,
            activated=False,
            generation=1,
            first_started_at=0.0,
            serial=0,
        )
        error = take_place(Program(str(tmp_path / "nothing"), ("x",)), handover, SignalBox(), 60.0)
        assert isinstance(error, FileNotFoundError)
        assert not sock.get_inheritable()
        assert not os.get_inheritable(lock.fileno())
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGTERM, signal.SIGHUP}


def program(directory: Path, *lines: str) -> Program:
    path = directory / "program"
    path.write_text("\n".join(["#!/bin/sh", *lines]))
    path.chmod(0o755)
    return Program(str(path), ("muxi-server", "start"))


async def test_a_program_is_asked_with_the_arguments_of_the_start(tmp_path: Path) -> None:
    answer = await check_program(program(tmp_path, 'echo "$@"', 'echo "muxi-server 9 can start."'))
    assert answer == "muxi-server 9 can start."


async def test_what_a_refusal_says_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        await check_program(program(tmp_path, 'echo "  no good: $@" >&2', "exit 2"))
    assert caught.value.problems == ("  no good: start --check",)


async def test_a_program_that_says_nothing_is_not_believed(tmp_path: Path) -> None:
    """Its status alone is not: an old one may know no `--check`, and start."""
    with pytest.raises(ConfigError):
        await check_program(program(tmp_path, "exit 0"))


async def test_a_program_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("text")
    with pytest.raises(OperatorError, match="can't be run"):
        await check_program(Program(str(tmp_path / "program"), ("x",)))


async def test_formations_that_can_t_be_let_go_are_ended(autojump_clock: trio.testing.MockClock) -> None:
    done: list[str] = []

    class Fake:
        config = SimpleNamespace(server=SimpleNamespace(shutdown_timeout=60.0))

        def __init__(self) -> None:
            self.audit = self

        async def detach(self, budget: float) -> None:
            done.append("detach")
            raise StorageError("full")

        async def end_formations(self) -> None:
            done.append("end_formations")

        async def flush(self) -> None:
            done.append("flush")

    await let_go(cast("Server", Fake()))
    assert done == ["detach", "end_formations", "flush"]
