"""nginx and Caddy, configured as docs/production.md says: nothing is spoilt on the way to a server."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from tests.docs.fronts import NAME, SECONDS, Front, caddy, nginx
from tests.live import bundle, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.live import LiveServer

AGENT = Path(__file__).with_name("streaming_agent.py")


@pytest.fixture(params=["nginx", "caddyfile"])
def front(
    request: pytest.FixtureRequest,
    server: LiveServer,
    production: Callable[[str], str],
    tmp_path: Path,
) -> Iterator[Front]:
    upstream = int(server.url.rpartition(":")[2])
    page = production(request.param)
    running = (
        nginx(page, upstream, tmp_path)
        if request.param == "nginx"
        else caddy(page, upstream, free_ports()[0], tmp_path)
    )
    with running as found:
        yield found


@contextmanager
def asking(front: Front) -> Iterator[httpx.Client]:
    """Ask as one who has found the proxy by its name."""
    with httpx.Client(
        base_url=f"https://127.0.0.1:{front.port}",
        headers={"Host": NAME},
        verify=front.trust,
        timeout=SECONDS,
        trust_env=False,
    ) as client:
        client.event_hooks["request"] = [
            lambda request: request.extensions.update(sni_hostname=NAME),
        ]
        yield client


def test_a_proxy_as_the_page_has_it_spoils_nothing(front: Front, server: LiveServer) -> None:
    with asking(front) as client:
        deploy(client, server)
        try:
            check_stream(client)
            check_forwarded(client)
            check_websocket(front)
        finally:
            deleted = client.delete("/rpc/formations/streaming", headers=signed(server, "DELETE"))
            assert deleted.status_code == 200, deleted.text


def signed(server: LiveServer, method: str, path: str = "/rpc/formations/streaming") -> dict[str, str]:
    return server.signed(method, path)


def deploy(client: httpx.Client, server: LiveServer) -> None:
    """Deploy through the proxy: signed, a bundle larger than nginx takes by itself."""
    filler = os.urandom(3 * 1024 * 1024)
    packed = bundle("streaming", {"app.py": AGENT.read_bytes(), "filler": filler}, env={"PYTHONPATH": ""})
    headers = {
        **signed(server, "POST", "/rpc/formations"),
        "X-Formation-ID": "streaming",
        "Content-Type": "application/gzip",
    }
    done = client.post("/rpc/formations", content=packed, headers=headers)
    assert done.status_code == 201, done.text


def check_stream(client: httpx.Client) -> None:
    """See the first event while the agent still waits to send the last one."""
    with client.stream("GET", "/api/streaming/stream") as answer:
        events = answer.iter_lines()
        assert next(events) == "data: first"
        assert client.get("/api/streaming/go-on").status_code == 200
        assert [line for line in events if line] == ["data: last"]


def check_forwarded(client: httpx.Client) -> None:
    """See what the agent is told of its client."""
    echoed = client.get("/api/hello-agent/v1/echo").json()["headers"]
    fields = {name.lower(): value for name, value in echoed}
    assert fields["x-forwarded-proto"] == "https", json.dumps(fields)
    assert fields["x-forwarded-host"].partition(":")[0] == NAME
    assert fields["x-forwarded-for"].startswith("127.0.0.1")


def check_websocket(front: Front) -> None:
    websocket = WSConnection(ConnectionType.CLIENT)
    with front.connect() as wire:
        wire.settimeout(SECONDS)
        wire.sendall(websocket.send(Request(host=NAME, target="/api/streaming/ws")))
        heard: list[str] = []
        while not heard:
            for event in websocket.events():
                if isinstance(event, AcceptConnection):
                    wire.sendall(websocket.send(TextMessage("hello")))
                elif isinstance(event, TextMessage):
                    heard.append(event.data)
                else:
                    pytest.fail(f"the proxy let no WebSocket through: {event}")
            if not heard:
                websocket.receive_data(wire.recv(4096) or None)
        wire.sendall(websocket.send(CloseConnection(1000)))
    assert heard == ["you said hello"]
