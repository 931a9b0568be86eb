"""A client that leaves in the middle of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.outside import deployed, server_events, until

if TYPE_CHECKING:
    from tests.live import LiveServer


def test_the_formation_sees_at_once_that_its_client_has_left(server: LiveServer) -> None:
    deployed(server, "streams")
    with server.client.stream("GET", f"{server.url}/api/streams/stream") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert next(answer.iter_raw()) == b"data: 1\n\n"
    assert server.get("/api/streams/left").json() == {"left": True}


def test_a_client_that_leaves_a_log_is_noted(server: LiveServer) -> None:
    path = "/rpc/formations/streams/logs/stream"
    headers = {**server.signed("GET", path), "X-Request-ID": "reader-left"}
    with server.client.stream("GET", f"{server.url}{path}", headers=headers) as answer:
        assert next(server_events(answer))[0] == "connected"
    until(lambda: "reader-left" in server.rpc("GET", "/rpc/server/logs").text, "its end is in the audit log")
