"""Worker processes that end, hang, are told to end; switches and drains that wait for them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import h11
import pytest
import trio

from muxi.proxy.limits import Limits
from muxi.registry.routes import Target
from muxi.workers.crew import Crew
from muxi.workers.messages import Settings
from tests.proxy.house import GET, OK, Wire, WireClosedError, canned, open_house
from tests.proxy.test_proxy_upgrade import ASK, Far
from tests.waiting import until
from tests.workers.staff import Staff, staffed

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n"


def _sockets(pid: int) -> set[str]:
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(str(path.readlink()))
    return {link for link in found if link.startswith("socket:")}


async def open_stream(staff: Staff) -> tuple[Target, Wire, trio.Event]:
    """An event stream through a worker, and what ends it."""
    over = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(STREAM)
        await over.wait()

    target = await staff.house.formation(script)
    await staff.house.routes.settled()
    wire = await staff.connect()
    await wire.send(GET)
    await wire.until(b": hello\n\n")
    return target, wire, over


async def test_no_request_reaches_the_old_target_once_the_switch_is_settled() -> None:
    reached: list[str] = []

    async def script(name: str, wire: Wire) -> None:
        while True:
            await wire.head()
            reached.append(name)
            await wire.send(OK)

    async with staffed(count=2) as staff:
        await staff.house.formation(partial(script, "old"))
        await staff.house.routes.settled()
        wires = [await staff.house.connect() for _ in range(6)]
        over = False

        async def ask(wire: Wire) -> None:
            while not over:
                assert (await wire.ask(GET)).status == 200

        async with trio.open_nursery() as nursery:
            for wire in wires:
                nursery.start_soon(ask, wire)
            for name in ("a", "b", "c", "d"):
                old = staff.house.routes.live[b"bot"].target
                await until(lambda: len(reached) > 20)
                await staff.house.formation(partial(script, name))
                assert old is not None
                old.drain(60)
                await staff.house.routes.settled()
                with trio.fail_after(30):
                    await old.empty()
                reached.clear()
                await until(lambda: len(reached) > 20)
                assert set(reached) == {name}
            over = True


async def test_a_formation_that_is_gone_is_unknown_everywhere_once_that_is_settled() -> None:
    async with staffed() as staff:
        await staff.house.formation(canned(OK))
        wires = [await staff.house.connect() for _ in range(2)]
        for wire in wires:
            assert (await wire.ask(GET)).status == 200
        staff.house.routes.withdraw("bot")
        await staff.house.routes.settled()
        assert [(await wire.ask(GET)).status for wire in wires] == [404, 404]


async def test_a_drain_waits_for_the_stream_in_a_worker() -> None:
    async with staffed() as staff:
        target, _wire, over = await open_stream(staff)
        await staff.house.formation(canned(OK))
        target.drain(60)
        await staff.house.routes.settled()
        assert (target.in_flight, target.streams) == (1, 1)
        over.set()
        with trio.fail_after(30):
            await target.empty()
        assert (target.in_flight, target.streams) == (0, 0)


async def test_what_does_not_end_is_ended_there() -> None:
    async with staffed() as staff:
        target, wire, _over = await open_stream(staff)
        await staff.house.formation(canned(OK))
        await staff.house.routes.settled()
        assert not await target.drained(0.05)
        staff.house.routes.end(target)
        with trio.fail_after(30):
            await target.empty()
        with pytest.raises((WireClosedError, trio.BrokenResourceError)):
            await wire.until(b"0\r\n\r\n")


async def test_a_websocket_in_a_worker_is_told_that_its_formation_goes_away() -> None:
    async with staffed() as staff:
        far = Far()
        target = await staff.house.formation(far)
        await staff.house.routes.settled()
        wire = await staff.connect()
        await wire.send(ASK)
        await wire.head()
        await far.wire()
        await staff.house.formation(canned(OK))
        await staff.house.routes.settled()
        assert not await target.drained(0.05)
        staff.house.routes.end(target)
        assert await wire.exactly(4) == b"\x88\x02\x03\xe9"
        wire.leave()
        far.hang_up()
        with trio.fail_after(30):
            await target.empty()


async def test_a_worker_that_is_killed_takes_only_its_own_connections_with_it_and_comes_back() -> None:
    async with staffed(count=2) as staff:
        target, lost, _over = await open_stream(staff)
        traffic = staff.house.routes.live[b"bot"].traffic
        await until(lambda: traffic.streams == 1)
        wires = [await staff.house.connect() for _ in range(5)]
        await staff.house.formation(canned(OK))
        await staff.house.routes.settled()
        target.drain(60)
        [victim] = [int(str(row["pid"])) for row in staff.crew.status() if row["requests"]]
        (other,) = set(staff.pids) - {victim}
        os.kill(victim, signal.SIGKILL)
        with trio.fail_after(30):
            await target.empty()
        with pytest.raises((WireClosedError, trio.BrokenResourceError)):
            await lost.until(b"0\r\n\r\n")
        answers = 0
        for wire in wires:
            try:
                answers += (await wire.ask(GET)).status == 200
            except (trio.BrokenResourceError, h11.RemoteProtocolError):
                continue  # One of those that it held.
        assert answers == 4
        await staff.ready(2)
        assert other in staff.pids
        assert victim not in staff.pids
        assert (traffic.in_flight, traffic.streams) == (0, 0)
        for _ in range(3):
            assert (await (await staff.house.connect()).ask(GET)).status == 200
        assert not staff.is_here(victim)


async def test_a_worker_that_hangs_is_given_up_and_what_it_had_not_taken_is_served() -> None:
    async with staffed(patience=1.0) as staff:
        await staff.house.formation(canned(OK))
        await staff.house.routes.settled()
        (victim,) = staff.pids
        os.kill(victim, signal.SIGSTOP)
        wires = [await staff.house.connect() for _ in range(4)]
        await until(lambda: staff.crew.connections == 2)
        for wire in wires:
            await wire.send(GET)
        staff.house.routes.publish("other", "running", Target("127.0.0.1", 1))
        with trio.fail_after(30):
            await staff.house.routes.settled()
        assert [(await wire.reply()).body for wire in wires] == [b"ok"] * 4
        await staff.ready(1)
        assert not staff.is_here(victim)


async def test_a_connection_that_the_worker_had_taken_is_lost_with_it_and_no_request_is_served_twice() -> (
    None
):
    heads = 0

    async def script(wire: Wire) -> None:
        nonlocal heads
        await wire.head()
        heads += 1
        await trio.sleep_forever()

    async with staffed() as staff:
        await staff.house.formation(script)
        await staff.house.routes.settled()
        wire = await staff.connect()
        await wire.send(GET)
        await until(lambda: heads == 1)
        os.kill(staff.pids[0], signal.SIGKILL)
        assert await wire.gone()
        await until(lambda: staff.house.listener.open_connections == 0)
        assert heads == 1


async def test_signals_that_reach_the_whole_group_are_not_for_workers() -> None:
    async with staffed() as staff:
        await staff.house.formation(canned(OK))
        (pid,) = staff.pids
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(pid, number)
        wire = await staff.connect()
        assert (await wire.ask(GET)).status == 200
        assert staff.pids == [pid]


async def test_a_worker_that_can_t_start_is_tried_again_and_nobody_waits_for_it() -> None:
    async with open_house() as house:
        settings = Settings("1", 2, Limits())
        crew = Crew(1, ("/bin/false",), settings, house.listener, house.routes)
        house.listener.colleagues = crew
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.run)
            await house.formation(canned(OK))
            await house.routes.settled()
            assert (await (await house.connect()).ask(GET)).status == 200
            nursery.cancel_scope.cancel()
        assert house.routes.copies == []


async def test_cancelling_leaves_no_process() -> None:
    async with staffed(count=2) as staff:
        pids = staff.pids
        await staff.connect()
    assert not any(staff.is_here(pid) for pid in pids)
    assert staff.house.routes.copies == []


async def test_a_drain_lets_requests_in_workers_end_and_cuts_what_does_not() -> None:
    asked, answer = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        asked.set()
        await answer.wait()
        await wire.send(OK)

    async with staffed() as staff:
        await staff.house.formation(script)
        await staff.house.routes.settled()
        (pid,) = staff.pids
        wire = await staff.connect()
        await wire.send(GET)
        await asked.wait()
        async with trio.open_nursery() as nursery:
            cut: list[int] = []

            async def drain() -> None:
                cut.append(await staff.house.listener.drain(30))

            nursery.start_soon(drain)
            await until(lambda: staff.house.listener.context.draining)
            answer.set()
            assert (await wire.reply()).body == b"ok"
            assert await wire.gone()
        assert (cut, staff.crew.connections) == ([0], 0)
        assert not staff.is_here(pid)
        assert staff.house.listener.status()["tally"]["requests"] == 1  # type: ignore[index]

    async with staffed() as staff:
        _target, wire, _over = await open_stream(staff)
        assert await staff.house.listener.drain(0.05) == 1
        with pytest.raises((WireClosedError, trio.BrokenResourceError)):
            await wire.until(b"0\r\n\r\n")


async def test_a_drain_does_not_wait_for_a_worker_that_hangs() -> None:
    async with staffed() as staff:
        (pid,) = staff.pids
        await staff.connect()
        os.kill(pid, signal.SIGSTOP)
        with trio.fail_after(30):
            assert await staff.house.listener.drain(0.05) == 1
        assert not staff.is_here(pid)


async def test_while_retired_each_connection_ends_with_its_next_answer() -> None:
    async with staffed() as staff:
        _target, wire, over = await open_stream(staff)
        await staff.house.connect()
        second = await staff.connect()
        staff.house.listener.retire()
        await until(lambda: len(staff.house.listener.busy()) == 1)
        assert (await second.ask(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")).header(b"connection") == b"close"
        over.set()
        await wire.until(b"0\r\n\r\n")
        await until(lambda: not staff.house.listener.busy())


async def test_other_settings_hold_from_the_next_connection_on() -> None:
    async with staffed() as staff:
        heads: list[bytes] = []

        async def script(wire: Wire) -> None:
            heads.append(await wire.head())
            await wire.send(OK)

        await staff.house.formation(script)
        staff.crew.configure(Settings("9.9.9", 2, Limits(), trusted_proxies=("127.0.0.0/8",)))
        await staff.house.routes.settled()
        wire = await staff.connect()
        await wire.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"))
        assert b"X-Real-IP: 192.0.2.1\r\n" in heads[0]


async def test_nothing_that_a_worker_is_started_with_is_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUXI_SECRET_KEY", "muxi_sk_of-the-server")
    monkeypatch.setenv("OPENAI_API_KEY", "of-somebody")
    async with staffed() as staff:
        (pid,) = staff.pids
        path = trio.Path(f"/proc/{pid}")
        if not await path.exists():
            pytest.skip("there is no /proc to look into")
        environment = await (path / "environ").read_bytes()
        assert b"SECRET" not in environment
        assert b"API_KEY" not in environment
        # None of our sockets: not the one that listens, nor another's channel.
        assert not _sockets(pid) & _sockets(os.getpid())
