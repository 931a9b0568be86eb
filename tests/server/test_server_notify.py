"""What a service manager is told, on a real datagram socket."""

from __future__ import annotations

import os
import socket
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxi.server.notify import Manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:] if address[0] == "@" else address)
        sock.settimeout(30)
        yield sock


def told(sock: socket.socket) -> list[str]:
    return sock.recv(4096).decode().split("\n")


@pytest.mark.parametrize("abstract", [False, True])
async def test_every_word_arrives(tmp_path: Path, abstract: bool) -> None:
    address = f"@muxi-{uuid.uuid4().hex}" if abstract else str(tmp_path / "notify")
    with listening(address) as sock:
        manager = Manager(address)
        await manager.ready("Serving")
        assert told(sock) == ["READY=1", "STATUS=Serving"]
        await manager.reloading("Reading")
        reloading, since, status = told(sock)
        assert (reloading, status) == ("RELOADING=1", "STATUS=Reading")
        name, _, usec = since.partition("=")
        assert name == "MONOTONIC_USEC"
        assert int(usec) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        await manager.stopping("Ending")
        assert told(sock) == ["STOPPING=1", "STATUS=Ending"]
        await manager.extend(1.5)
        assert told(sock) == ["EXTEND_TIMEOUT_USEC=1500000"]
        await manager.status("Waiting")
        assert told(sock) == ["STATUS=Waiting"]
        manager.close()


async def test_while_another_program_takes_over_the_watchdog_waits_longer(tmp_path: Path) -> None:
    """Else a program that starts slowly would be killed as one that hangs (sd_notify(3): WATCHDOG_USEC)."""
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        manager = Manager(address, watchdog=30.0)
        manager.silent(120.0)
        assert told(sock) == ["WATCHDOG_USEC=120000000", "WATCHDOG=1"]
        await manager.ready("Serving")
        assert told(sock) == ["READY=1", "STATUS=Serving", "WATCHDOG_USEC=30000000"]
        manager.close()


async def test_without_a_manager_nothing_is_said() -> None:
    manager = Manager.from_environment({})
    await manager.ready("x")
    manager.alive()
    assert manager.watchdog == 0
    manager.close()


async def test_a_manager_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        manager = Manager(address)
        await manager.ready("x")
        assert told(sock)[0] == "READY=1"
    await manager.ready("y")
    manager.close()


async def test_a_manager_that_takes_nothing_gets_every_word_once_it_does(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        manager = Manager(address, watchdog=1.0)
        filled = await fill(manager)
        manager.alive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.ready, "at last")
            await trio.testing.wait_all_tasks_blocked()
            words = [told(sock) for _ in range(filled)]
        assert words == [["STATUS=full"]] * filled
        assert told(sock) == ["READY=1", "STATUS=at last", "WATCHDOG_USEC=1000000"]
        manager.close()


async def fill(manager: Manager) -> int:
    """Say a word until there is no room for one more; return how many there was room for."""
    filled = 0
    with trio.move_on_after(0.1):
        while True:
            await manager.status("full")
            filled += 1
    return filled


async def test_a_manager_that_never_takes_anything_is_waited_for_a_moment(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address):
        manager = Manager(address)
        assert await fill(manager)
        with trio.fail_after(30):
            await manager.ready("never")
        manager.close()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_whom_the_watchdog_is_for(environment: dict[str, str], seconds: float) -> None:
    assert Manager.from_environment(environment).watchdog == seconds


async def test_the_watchdog_hears_of_us_at_half_its_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        manager = Manager(address, watchdog=30.0)
        with trio.move_on_after(61):
            await manager.keep_alive()
        await manager.status("end")
        words = [told(sock)]
        while words[-1] != ["STATUS=end"]:
            words.append(told(sock))
        assert words[:-1] == [["WATCHDOG=1"]] * 5
        manager.close()


async def test_who_is_not_watched_says_nothing(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        manager = Manager(address)
        with trio.fail_after(30):
            await manager.keep_alive()
        await manager.status("end")
        assert told(sock) == ["STATUS=end"]
        manager.close()
