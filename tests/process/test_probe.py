from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.process.health import PATHS, StartUp
from muxi.process.probe import ProbeResult, check, most_attempts, pause_before

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Answer = Callable[[bytes, trio.SocketStream], Awaitable[None]]

PATIENCE = 20.0


def response(status: str, body: bytes = b"", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


async def serve(answer: Answer, nursery: trio.Nursery, seen: list[str] | None = None) -> int:
    """Answer each connection's first request with raw bytes; return the port."""

    async def handle(stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some(4096)
        if seen is not None:
            seen.append(head.decode())
        with suppress(trio.BrokenResourceError):  # the probe has gone
            await answer(head.split()[1], stream)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(partial(trio.serve_listeners, handle, [listener]))
    return int(listener.socket.getsockname()[1])


def by_path(answers: dict[str, bytes]) -> Answer:
    async def answer(path: bytes, stream: trio.SocketStream) -> None:
        await stream.send_all(answers[path.decode()])

    return answer


V1_404 = ("/v1/health", response("404 Not Found"))
CASES = [
    ({"/v1/health": response("200 OK", b"fine")}, True, "GET /v1/health: 200"),
    ({"/v1/health": response("204 No Content")}, True, "GET /v1/health: 204"),
    ({"/v1/health": response("503 Service Unavailable")}, False, "GET /v1/health: 503"),
    ({"/v1/health": response("500 Oops", b"x" * 300_000)}, False, "GET /v1/health: 500"),
    ({"/v1/health": response("302 Found", headers="Location: /health\r\n")}, False, "GET /v1/health: 302"),
    (dict([V1_404, ("/health", response("200 OK"))]), True, "GET /health: 200"),
    (dict([V1_404, ("/health", response("503 No"))]), False, "GET /health: 503"),
    (dict([V1_404, ("/health", response("404 No"))]), False, "GET /health: 404"),
    ({"/v1/health": b"\x15\x03\x01 not http\r\n\r\n"}, False, "GET /v1/health: no valid HTTP answer"),
    ({"/v1/health": b""}, False, "GET /v1/health: no valid HTTP answer"),
]


@pytest.mark.parametrize(("answers", "healthy", "detail"), CASES)
async def test_what_an_answer_means(answers: dict[str, bytes], healthy: bool, detail: str) -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            port = await serve(by_path(answers), nursery)
            result = await check("127.0.0.1", port, PATHS, PATIENCE)
            nursery.cancel_scope.cancel()
    assert result == (healthy, detail, "no valid" not in detail)


async def test_nobody_there(port: int) -> None:
    with trio.fail_after(30):
        seen = await check("127.0.0.1", port, PATHS, PATIENCE)
        assert seen == ProbeResult(False, "GET /v1/health: connection refused", answered=False)


async def test_wildcard_host_is_probed_over_loopback() -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            port = await serve(by_path({"/v1/health": response("200 OK")}), nursery)
            assert (await check("0.0.0.0", port, PATHS, PATIENCE)).healthy
            nursery.cancel_scope.cancel()


async def test_path_that_cannot_be_asked_for(port: int) -> None:
    result = await check("127.0.0.1", port, ("/he alth\r\n",), PATIENCE)
    assert not result.healthy
    assert result.detail.endswith("not a path that can be asked for")


async def test_no_path_no_check(port: int) -> None:
    assert await check("127.0.0.1", port, (), PATIENCE) == (True, "no health check", True)


@pytest.mark.parametrize(
    "begin", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_an_answer_that_does_not_end_in_time(begin: bytes) -> None:
    async def answer(_path: bytes, stream: trio.SocketStream) -> None:
        await stream.send_all(begin)
        await trio.sleep_forever()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            port = await serve(answer, nursery)
            result = await check("127.0.0.1", port, PATHS, 0.25)
            nursery.cancel_scope.cancel()
    assert result == ProbeResult(False, "GET /v1/health: no answer within 0.25 s", answered=False)


async def test_a_body_without_end_is_not_read_to_its_end() -> None:
    async def answer(_path: bytes, stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 65536)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            port = await serve(answer, nursery)
            assert (await check("127.0.0.1", port, PATHS, PATIENCE)).healthy
            nursery.cancel_scope.cancel()


async def test_no_proxy_of_the_environment_and_no_connection_kept(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    seen: list[str] = []
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            formation = await serve(by_path({"/v1/health": response("200 OK")}), nursery, seen)
            for _ in range(3):
                assert (await check("127.0.0.1", formation, PATHS, PATIENCE)).healthy
            nursery.cancel_scope.cancel()
    assert len(seen) == 3  # a connection each
    assert all(f"host: 127.0.0.1:{formation}" in head.lower() for head in seen)


def test_first_checks_follow_each_other_fast() -> None:
    health = StartUp(interval=1.0)
    pauses = [pause_before(n, health) for n in range(1, 16)]
    assert pauses[:3] == pytest.approx([0.01, 0.015, 0.0225])
    assert all(later <= 1.5 * earlier + 1e-9 for earlier, later in pairwise(pauses))
    assert pauses[12:] == [1.0, 1.0, 1.0]
    assert pause_before(10_000, StartUp(interval=7.0)) == 7.0


@pytest.mark.parametrize(
    ("interval", "startup_timeout", "most"),
    [(1.0, 60.0, 69), (1.0, 0.01, 1), (0.05, 0.32, 8), (0.0, 5.0, 500), (0.02, 1e9, 50_000_000_000)],
)
def test_attempts_that_fit(interval: float, startup_timeout: float, most: int) -> None:
    assert most_attempts(StartUp(interval=interval, budget=startup_timeout)) == most
