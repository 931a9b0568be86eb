"""The public socket: addresses, taken ports, running out of descriptors, closing down."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio

from muxi.errors import OperatorError
from muxi.proxy.handover import Handover
from muxi.proxy.limits import Limits
from muxi.proxy.listener import Listener
from muxi.proxy.occupant import find_occupant
from muxi.proxy.sockets import open_listeners, raise_descriptor_limit
from muxi.registry.routes import RouteTable
from tests.proxy.house import GET, OK, Wire, answer_ok, canned, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.proxy.context import Served

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "reach"),
    [("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"), ("localhost", "127.0.0.1")],
)
async def test_addresses(host: str, reach: str) -> None:
    try:
        sockets = open_listeners(host, 0)
    except OperatorError:
        if ":" in host:
            pytest.skip("no IPv6 on this machine")
        raise
    ports = {sock.getsockname()[1] for sock in sockets}
    assert len(ports) == 1
    listener = Listener(RouteTable(), Handover(answer_ok), version="1")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, sockets)
        async with await trio.open_tcp_stream(reach, ports.pop()) as stream:
            assert (await Wire(stream).ask(PING)).body == b"pong"
        nursery.cancel_scope.cancel()
    for sock in sockets:
        sock.close()


async def test_peers_over_ipv6_and_mapped_are_named_plainly() -> None:
    seen: list[Served] = []
    listener = Listener(RouteTable(), Handover(answer_ok), version="1", on_request=seen.append)
    try:
        sockets = open_listeners("::", 0)
    except OperatorError:
        pytest.skip("no IPv6 on this machine")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, sockets)
        for host in ("127.0.0.1", "::1"):
            async with await trio.open_tcp_stream(host, sockets[0].getsockname()[1]) as stream:
                assert (await Wire(stream).ask(GET)).status == 404
        nursery.cancel_scope.cancel()
    sockets[0].close()
    assert [served.peer for served in seen] == ["127.0.0.1", "::1"]


def test_taken_port_says_by_what_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OperatorError) as caught:
            open_listeners("127.0.0.1", port)
    assert f"Port {port} is taken" in caught.value.message
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in caught.value.message
    assert caught.value.cure is not None
    assert "MUXI_PORT" in caught.value.cure


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_host_that_is_not_ours(host: str) -> None:
    with pytest.raises(OperatorError) as caught:
        open_listeners(host, 0)
    assert host in caught.value.message
    assert caught.value.cure is not None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_occupant_is_found_in_another_process() -> None:
    program = "import socket; s = socket.create_server(('127.0.0.1', 0))\n"
    program += "print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        assert (find_occupant(port) or "").endswith(f"(pid {child.pid})")
        child.communicate(b"\n")
    assert find_occupant(port) is None


def test_occupant_is_unknown_where_there_is_no_proc(tmp_path: Path) -> None:
    assert find_occupant(1, tmp_path) is None


def test_descriptor_limit_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = min(soft, 512)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    try:
        assert raise_descriptor_limit() == (lower, hard)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
        assert raise_descriptor_limit() == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class ShortOfDescriptors:
    """A listening socket whose accept fails a few times for want of descriptors."""

    def __init__(self, sock: socket.socket, times: int) -> None:
        self._sock = sock
        self.times = times

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def accept(self) -> Any:
        if self.times:
            self.times -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._sock.accept()


async def test_running_out_of_descriptors_only_pauses() -> None:
    (sock,) = open_listeners("127.0.0.1", 0)
    short: Any = ShortOfDescriptors(sock, 3)
    listener = Listener(RouteTable(), Handover(answer_ok), version="1", limits=Limits(accept_pause=0.001))
    with sock:
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, [short])
            async with await trio.open_tcp_stream("127.0.0.1", sock.getsockname()[1]) as stream:
                assert (await Wire(stream).ask(PING)).body == b"pong"
            nursery.cancel_scope.cancel()
    assert short.times == 0


async def test_each_proxied_request_is_told_to_the_hook() -> None:
    seen: list[Served] = []
    async with open_house(on_request=seen.append) as house:
        await house.formation(canned(OK))
        wire = await house.connect()
        await wire.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Request-ID: r1\r\n\r\n"))
        await wire.ask(b"GET /api/none HTTP/1.1\r\nHost: a\r\n\r\n")
        await wire.ask(b"GET /rpc HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [(s.formation_id, s.status, s.target) for s in seen] == [
        ("bot", 200, b"/api/bot/x"),
        ("none", 404, b"/api/none"),
    ]
    assert seen[0].request_id == b"r1"
    assert seen[0].seconds >= 0


async def test_drain_ends_idle_connections_and_waits_for_the_others() -> None:
    release, asked = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        asked.set()
        await release.wait()
        await wire.send(OK)

    async with open_house() as house:
        await house.formation(script)
        idle, busy = await house.connect(), await house.connect()
        await idle.ask(PING)
        await busy.send(GET)
        await asked.wait()
        cut: list[int] = []

        async def drain() -> None:
            cut.append(await house.listener.drain(20))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            assert await idle.gone()
            assert cut == []
            release.set()
            reply = await busy.reply()
            assert (reply.body, reply.header(b"connection")) == (b"ok", b"close")
            assert await busy.gone()
        assert cut == [0]


async def test_drain_cuts_what_outlasts_its_budget() -> None:
    async with open_house() as house:
        target = await house.formation(Wire.rest)
        wire = await house.connect()
        await wire.send(GET)
        await until(lambda: target.in_flight == 1)
        assert await house.listener.drain(0.01) == 1
        assert await wire.gone()
        assert target.in_flight == 0


async def test_drain_with_nothing_open_is_done_at_once() -> None:
    async with open_house() as house:
        assert await house.listener.drain(20) == 0


async def test_cancelling_the_listener_closes_everything() -> None:
    async with open_house() as house:
        target = await house.formation(Wire.rest)
        wire = await house.connect()
        await wire.send(GET)
        await until(lambda: target.in_flight == 1)
        house.listener._accepting.cancel()
        house.listener._drained.set()
        assert await wire.gone()
        await until(lambda: house.listener.open_connections == 0)
        assert target.in_flight == 0


async def test_a_defect_in_one_connection_is_that_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_house() as house:
        other = await house.connect()
        await other.ask(PING)
        with monkeypatch.context() as patch:
            patch.setattr("muxi.proxy.connection.find_place", lambda *_: 1 / 0)
            wire = await house.connect()
            await wire.send(GET)
            assert await wire.gone()
        assert house.listener.tally.contained == 1
        assert (await other.ask(PING)).body == b"pong"
