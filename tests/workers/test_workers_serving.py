"""Requests through worker processes: which process serves what, and that nobody can tell the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

from muxi.proxy.certificates import Certificates
from muxi.proxy.limits import Limits
from muxi.registry.routes import RoutePolicy
from tests.proxy.house import GET, OK, Wire, canned
from tests.proxy.test_proxy_tls import Door, write_pair
from tests.proxy.test_proxy_upgrade import ASK, Far
from tests.waiting import until
from tests.workers.staff import Staff, staffed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"6\r\nhello\n\r\n"


async def test_connections_go_to_whoever_has_the_fewest() -> None:
    async with staffed(count=2) as staff:
        await staff.house.formation(canned(OK))
        for _ in range(6):
            wire = await staff.house.connect()
            assert (await wire.ask(GET)).body == b"ok"
        assert staff.own == 2
        assert [row["connections"] for row in staff.crew.status()] == [2, 2]
        for client in staff.house.clients:
            client.leave()
        await until(lambda: staff.house.listener.open_connections == 0)


async def test_a_formation_sees_the_same_from_both() -> None:
    heads: list[bytes] = []

    async def script(wire: Wire) -> None:
        while True:
            heads.append(await wire.head())
            await wire.send(OK)

    async with staffed() as staff:
        await staff.house.formation(script)
        for _ in range(2):
            wire = await staff.house.connect()
            await wire.ask(
                b"GET /api/bot/x HTTP/1.1\r\nHost: a\r\nX-Request-ID: 1\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n"
            )
        assert (staff.own, staff.crew.connections) == (1, 1)
    theirs, ours = ([line for line in head.split(b"\r\n") if b"traceparent" not in line] for head in heads)
    assert theirs == ours
    assert b"X-Forwarded-For: 127.0.0.1" in theirs


async def test_what_is_not_the_proxy_s_is_served_by_the_main_process_and_the_connection_with_it() -> None:
    async with staffed() as staff:
        await staff.house.formation(canned(OK))
        wire = await staff.connect()
        assert (await wire.ask(GET)).body == b"ok"
        assert (staff.own, staff.crew.connections) == (0, 1)
        assert (await wire.ask(HEALTH)).body == b"/health:"
        await until(lambda: (staff.own, staff.crew.connections) == (1, 0))
        # Later requests are the main process's, whosever they are.
        assert (await wire.ask(GET)).body == b"ok"
        assert (await wire.ask(HEALTH)).body == b"/health:"
        tally = staff.house.listener.status()["tally"]
        assert isinstance(tally, dict)
        await until(lambda: staff.house.listener.status()["tally"]["requests"] == 4)  # type: ignore[index]
        assert staff.house.listener.status()["tally"]["connections"] == 1  # type: ignore[index]


async def test_a_body_that_is_under_way_and_requests_behind_it_move_along() -> None:
    async with staffed() as staff:
        await staff.house.formation(canned(OK))
        wire = await staff.connect()
        start = b"POST /rpc/x?y=%2F HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
        await wire.send(start)
        assert (await wire.head()).startswith(b"HTTP/1.1 100")
        await wire.send(b"01234")
        await until(lambda: staff.own == 1)
        await wire.send(b"56789" + GET + HEALTH)
        assert (await wire.reply(b"POST")).body == b"/rpc/x:0123456789"
        assert (await wire.reply()).body == b"ok"
        assert (await wire.reply()).body == b"/health:"
        wire = await staff.connect()
        chunked = (
            b"POST /rpc/z HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        await wire.send(chunked + GET)
        assert (await wire.reply(b"POST")).body == b"/rpc/z:abc"
        assert (await wire.reply()).body == b"ok"


async def test_ping_is_answered_where_it_comes_in() -> None:
    async with staffed() as staff:
        wire = await staff.connect()
        assert (await wire.ask(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
        assert staff.crew.connections == 1


async def test_http2_by_prior_knowledge_moves_to_the_main_process() -> None:
    from tests.proxy.h2_client import H2Client

    async with staffed() as staff:
        await staff.house.formation(canned(OK))
        client = H2Client((await staff.connect()).stream)
        await client.start()
        for path, body in ((b"/health", b"/health:"), (b"/api/bot/x", b"ok")):
            stream = await client.ask(path)
            assert (stream.status, stream.body) == (200, body)
        assert staff.crew.connections == 0


async def test_a_formation_with_a_limit_is_served_by_the_main_process_which_keeps_it() -> None:
    over = trio.Event()

    async def slow(wire: Wire) -> None:
        await wire.head()
        await over.wait()
        await wire.send(OK)

    async with staffed(count=2) as staff:
        await staff.house.formation(slow, policy=RoutePolicy(max_concurrent=2))
        await staff.house.routes.settled()
        wires = [await staff.house.connect() for _ in range(4)]
        for wire in wires:
            await wire.send(GET)
        route = staff.house.routes.live[b"bot"]
        await until(lambda: route.traffic.refused == 2)
        over.set()
        statuses = sorted([(await wire.reply()).status for wire in wires])
        assert statuses == [200, 200, 503, 503]
        assert staff.crew.connections == 0


async def test_requests_wait_in_a_worker_until_the_route_is_there() -> None:
    async with staffed() as staff:
        routes = staff.house.routes
        routes.publish("bot", "starting", None, returning=True)
        await routes.settled()
        wire = await staff.connect()
        await wire.send(GET)
        await until(lambda: routes.live[b"bot"].traffic.holding == 1)
        await staff.house.formation(canned(OK))
        assert (await wire.reply()).body == b"ok"
        await until(lambda: (routes.live[b"bot"].traffic.holding, routes.live[b"bot"].traffic.held) == (0, 1))


async def test_each_process_holds_its_share_of_requests() -> None:
    async with staffed() as staff:
        routes = staff.house.routes
        routes.publish("bot", "starting", None, RoutePolicy(hold_requests=3), returning=True)
        await routes.settled()
        wires = [await staff.house.connect() for _ in range(6)]
        for wire in wires:
            await wire.send(GET)
        await until(lambda: routes.live[b"bot"].traffic.statuses[5] == 2)
        await staff.house.formation(canned(OK))
        assert sorted([(await wire.reply()).status for wire in wires]) == [200] * 4 + [503] * 2


async def test_an_address_s_connections_are_counted_over_all_processes() -> None:
    async with staffed(limits=Limits(max_connections_per_address=3)) as staff:
        await staff.house.formation(canned(OK))
        wires = [await staff.house.connect() for _ in range(3)]
        for wire in wires:
            assert (await wire.ask(GET)).status == 200
        assert (staff.own, staff.crew.connections) == (1, 2)
        assert (await (await staff.house.connect()).reply()).status == 503
        # One that moves to the main process is counted once.
        assert (await wires[0].ask(HEALTH)).status == 200
        assert (await (await staff.house.connect()).reply()).status == 503
        wires[0].leave()
        await until(lambda: staff.house.listener.open_connections == 2)
        assert (await (await staff.house.connect()).ask(GET)).status == 200


async def test_proxy_protocol_is_read_by_the_worker_and_not_again_by_the_main_process() -> None:
    async with staffed(trusted=["127.0.0.1"], proxy_protocol=True) as staff:
        heads: list[bytes] = []

        async def script(wire: Wire) -> None:
            while True:
                heads.append(await wire.head())
                await wire.send(OK)

        await staff.house.formation(script)
        wire = await staff.connect()
        await wire.send(b"PROXY TCP4 192.0.2.7 127.0.0.1 5 6\r\n" + HEALTH)
        assert (await wire.reply()).body == b"/health:"
        await until(lambda: staff.own == 1)
        assert (await wire.ask(GET)).status == 200
        assert b"X-Real-IP: 192.0.2.7\r\n" in heads[0]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def secure(tmp_path: Path, authority: trustme.CA) -> AsyncIterator[tuple[Staff, Door]]:
    pair = write_pair(tmp_path, authority)
    async with staffed(pair=pair, certificates=Certificates(*pair)) as staff:
        await staff.house.formation(canned(OK))
        yield staff, Door(staff.house, authority)


async def test_over_tls_the_main_process_answers_through_the_worker(secure: tuple[Staff, Door]) -> None:
    staff, door = secure
    wire = await door.connect()
    assert (await wire.ask(GET)).body == b"ok"
    assert (staff.own, staff.crew.connections) == (0, 1)
    assert (await wire.ask(HEALTH)).body == b"/health:"
    assert (staff.own, staff.crew.connections) == (1, 1)
    big = b"x" * 200_000
    request = b"POST /rpc/big HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(big), big)
    assert (await wire.ask(request)).body == b"/rpc/big:" + big
    assert (await wire.ask(GET)).body == b"ok"
    close = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert (await wire.ask(close)).body == b"/health:"
    assert await wire.rest() == b""
    await until(lambda: staff.house.listener.open_connections == 0)


async def test_a_client_that_leaves_ends_the_relayed_connection(secure: tuple[Staff, Door]) -> None:
    staff, door = secure
    wire = await door.connect()
    assert (await wire.ask(HEALTH)).status == 200
    await wire.stream.aclose()
    await until(lambda: staff.house.listener.open_connections == 0)


async def test_a_client_that_breaks_off_a_relayed_answer_is_no_failure_of_ours(
    secure: tuple[Staff, Door],
) -> None:
    staff, door = secure
    wire = await door.connect()
    big = b"x" * (4 << 20)
    await wire.send(b"POST /rpc/big HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(big), big))
    await wire.head()
    staff.house.clients[-1].reset()
    await until(lambda: staff.house.listener.open_connections == 0)
    assert (await (await door.connect()).ask(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
    # That has been counted by the worker, and so would the failure have been.
    await until(lambda: staff.crew.tally().requests == 1)
    assert staff.crew.tally().contained == 0
    assert staff.house.listener.tally.contained == 0


async def test_http2_over_tls_is_the_main_process_s(secure: tuple[Staff, Door]) -> None:
    staff, door = secure
    client = await door.h2()
    for path, body in ((b"/health", b"/health:"), (b"/api/bot/x", b"ok")):
        stream = await client.ask(path)
        assert (stream.status, stream.body) == (200, body)
    assert staff.crew.connections == 1
    await client.stream.aclose()
    await until(lambda: staff.house.listener.open_connections == 0)


async def test_the_app_sees_who_asks(tmp_path: Path, authority: trustme.CA) -> None:
    clients: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        clients.append((scope["scheme"], scope["client"][0]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    pair = write_pair(tmp_path, authority)
    async with staffed(app, pair=pair, certificates=Certificates(*pair)) as staff:
        wire = await Door(staff.house, authority).connect()
        assert (await wire.ask(HEALTH)).status == 200
        assert staff.crew.connections == 1
    async with staffed(app) as staff:
        assert (await (await staff.connect()).ask(HEALTH)).status == 200
    assert clients == [("https", "127.0.0.1"), ("http", "127.0.0.1")]


async def test_tunnels_and_streams_pass_through_a_worker_and_are_counted_here() -> None:
    more = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(STREAM + EVENT)
        await more.wait()
        await wire.send(EVENT + b"0\r\n\r\n")

    async with staffed() as staff:
        target = await staff.house.formation(script)
        traffic = staff.house.routes.live[b"bot"].traffic
        wire = await staff.connect()
        await wire.send(GET)
        await wire.until(EVENT)
        await until(lambda: (traffic.in_flight, traffic.streams) == (1, 1))
        assert (target.in_flight, target.streams) == (1, 1)
        assert traffic.first_event.snapshot().count == 1
        more.set()
        assert (await wire.until(b"0\r\n\r\n")).startswith(EVENT)
        await until(lambda: (traffic.in_flight, traffic.streams, traffic.statuses[2]) == (0, 0, 1))
        assert traffic.stream_seconds.snapshot().count == 1
        assert traffic.bytes_out == len(2 * EVENT + b"0\r\n\r\n")

        wire.leave()
        await until(lambda: staff.house.listener.open_connections == 0)
        far = Far()
        target = await staff.house.formation(far)
        await staff.house.routes.settled()
        wire = await staff.connect()
        await wire.send(ASK)
        assert (await wire.head()).startswith(b"HTTP/1.1 101")
        upstream = await far.wire()
        await until(lambda: (target.in_flight, target.tunnels, traffic.tunnels) == (1, 1, 1))
        await upstream.send(b"abc")
        assert await wire.exactly(3) == b"abc"
