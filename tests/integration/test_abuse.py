"""Many connections and malformed requests; the same server answers the next one."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.conformance.wire import connect, read_answer
from tests.integration.outside import configure, deployed
from tests.live import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live import LiveServer

CONNECTIONS = 1000
UPGRADE = (
    b"GET /rpc/server/status HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
POST = b"POST /rpc/formations/x-1/stop HTTP/1.1\r\nHost: x\r\n"

MALFORMED = {
    "garbage": b"\x00\xff\xfe garbage \r\n\r\n",
    "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "no-version": b"GET /ping\r\n\r\n",
    "version-9": b"GET /ping HTTP/9.9\r\nHost: x\r\n\r\n",
    "no-host": b"GET /ping HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET /ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "blank-before-colon": b"GET /api/abuse/x HTTP/1.1\r\nHost: x\r\nX-A : 1\r\n\r\n",
    "folded-header": b"GET /api/abuse/x HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n 2\r\n\r\n",
    "header-with-nul": b"GET /api/abuse/x HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
    "huge-head": b"GET /ping HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "length-and-chunked": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "proxied-length-and-chunked": b"POST /api/abuse/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": b"POST /api/abuse/x HTTP/1.1\r\nHost: x\r\n"
    b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "negative-length": POST + b"Content-Length: -1\r\n\r\n",
    "length-not-a-number": POST + b"Content-Length: abc\r\n\r\n",
    "bad-chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n",
    "proxied-bad-chunk": b"POST /api/abuse/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "unknown-coding": POST + b"Transfer-Encoding: br\r\n\r\n",
    "absolute-form": b"GET http://elsewhere/rpc/formations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "connect": b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n",
    "upgrade-and-a-byte": UPGRADE + b"\r\nx",
    "upgrade-with-a-body": UPGRADE + b"Content-Length: 5\r\n\r\nhello",
    "upgrade-protocol-not-ascii": UPGRADE + b"Sec-WebSocket-Protocol: caf\xc3\xa9\r\n\r\n",
}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HTTP2 = {
    "preface-alone": PREFACE,
    "preface-and-garbage": PREFACE + b"\xff" * 500,
    "headers-without-end": PREFACE
    + bytes.fromhex("000000040000000000")
    + b"\x00\x00\x05\x01\x00\x00\x00\x00\x01",
    "upgrade": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
    "upgrade-with-bad-settings": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: !!!\r\n\r\n",
}


@pytest.fixture(scope="module")
def abused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that waits for a head longer than any machine takes for these tests."""
    directory = tmp_path_factory.mktemp("abused")
    configure(directory, {"server": {"read_timeout": "10m", "idle_timeout": "10m"}})
    with running(directory) as server:
        deployed(server, "abuse")
        yield server


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_refused_and_nothing_more(abused: LiveServer, case: str) -> None:
    with connect(abused.url) as sock:
        answer = said(sock, MALFORMED[case])
    status = answer[:12].decode("latin-1")
    assert not answer or status.startswith(("HTTP/1.1 4", "HTTP/1.1 5")), status
    assert b"Traceback" not in answer
    check_unharmed(abused)


def test_dot_segments_lead_nowhere_else(abused: LiveServer) -> None:
    """The path is passed on as it is; what it means is the formation's affair, and only its."""
    with connect(abused.url) as sock:
        sock.sendall(b"GET /api/abuse/../../rpc/formations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    pid = str(abused.formation("abuse")["pid"]).encode()
    assert answer.endswith(b'{"pid": %b}' % pid)


@pytest.mark.parametrize("case", HTTP2)
def test_http2_in_the_clear_does_no_harm(abused: LiveServer, case: str) -> None:
    with connect(abused.url) as sock:
        assert b"Traceback" not in said(sock, HTTP2[case])
    check_unharmed(abused)


def check_unharmed(abused: LiveServer) -> None:
    assert abused.process.poll() is None
    assert abused.get("/ping").text == "pong"
    assert abused.get("/api/abuse/x").status_code == 200
    assert abused.rpc("GET", "/rpc/formations/abuse").status_code == 200
    assert not [entry for entry in abused.log if "Traceback" in str(entry)]


def said(sock: socket.socket, raw: bytes) -> bytes:
    """Send, say that nothing more comes, and return everything until the other side hangs up."""
    answer = b""
    try:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(65536):
            answer += piece
    except (ConnectionResetError, BrokenPipeError):
        pass  # a refusal too
    return answer


@contextmanager
def room_for_sockets() -> Iterator[None]:
    """Raise this process's own limit on open files, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * CONNECTIONS
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_connections(abused: LiveServer) -> None:
    """A third says nothing, a third stops in the middle of a head, a third asks; all asked is answered."""
    requests = (b"", b"GET /api/abuse/x HTTP/1.1\r\nHo", b"GET /api/abuse/x HTTP/1.1\r\nHost: x\r\n\r\n")
    with room_for_sockets(), ExitStack() as stack:
        sockets = [stack.enter_context(connect(abused.url)) for _ in range(CONNECTIONS)]
        for number, sock in enumerate(sockets):
            sock.sendall(requests[number % 3])
        assert abused.get("/ping").text == "pong"
        assert abused.rpc("GET", "/rpc/formations/abuse").status_code == 200
        for sock in sockets[2::3]:
            assert read_answer(sock).status == 200
        for sock in sockets[1::3]:
            sock.sendall(b"st: x\r\n\r\n")
        for sock in sockets[1::3]:
            assert read_answer(sock).status == 200
    assert abused.get("/api/abuse/x").status_code == 200
    assert abused.process.poll() is None
