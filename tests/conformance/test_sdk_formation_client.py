"""The real Python SDK's FormationClient and AsyncFormationClient through the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.agent import ADMIN_KEY, CLIENT_KEY
from tests.conformance.bundles import agent_bundle
from tests.conformance.sdk import SdkClient, SdkError, driven

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conformance.sdk import Style
    from tests.live import LiveServer

KEYS = {"client_key": CLIENT_KEY, "admin_key": ADMIN_KEY}


@pytest.fixture(scope="module")
def agent(server: LiveServer) -> str:
    found = server.rpc("GET", "/rpc/formations/agent")
    if found.status_code == 404:
        assert server.deploy("agent", agent_bundle("agent")).status_code == 201
    return "agent"


@pytest.fixture(scope="module")
def formation(
    python: Path, style: Style, server: LiveServer, agent: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SdkClient]:
    home = tmp_path_factory.mktemp("sdk")
    config = {"server_url": server.url, "formation_id": agent}
    with driven(python, style, "FormationClient", home, **config, **KEYS) as sdk:
        yield sdk


def test_health(formation: SdkClient) -> None:
    assert formation.call("health") == {"status": "healthy", "version": "test", "uptime_seconds": 1}


def test_an_answer_in_an_envelope_with_the_admin_key(formation: SdkClient) -> None:
    assert formation.call("get_status") == {"state": "ready", "request_id": "req-1", "timestamp": 1}


def test_chat(formation: SdkClient) -> None:
    answer = formation.call("chat", {"message": "grüß dich"}, user_id="user-7")
    assert answer["response"] == "You said: grüß dich"
    assert answer["user"] == "user-7"


def test_the_agent_gets_the_headers_of_the_client(formation: SdkClient, server: LiveServer) -> None:
    formation.call("chat", {"message": "hello"}, user_id="user-7")
    headers = server.get("/api/agent/v1/last-headers").json()
    assert headers["x-muxi-client-key"] == CLIENT_KEY
    assert headers["x-muxi-sdk"].startswith("python/")
    assert headers["x-muxi-idempotency-key"]
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-host"] == server.url.removeprefix("http://")
    assert headers["content-type"] == "application/json"


def test_chat_streams_token_by_token(formation: SdkClient, server: LiveServer) -> None:
    events = formation.stream("chat_stream", {"message": "hello"}, user_id="user-7")
    first = next(events)
    assert (first.name, first.data["token"]["content"]) == ("message", "first")
    # The second token is not written before this: the first one has come through by itself.
    assert server.client.post(f"{server.url}/api/agent/v1/release").status_code == 200
    second, done = events
    assert second.data["token"]["content"] == "second ✓ ü"
    assert done.name == "done"


def test_an_error_in_a_stream_is_raised(formation: SdkClient) -> None:
    events = formation.stream("chat_stream", {"message": "fail"})
    assert next(events).data["token"]["content"] == "first"
    with pytest.raises(SdkError) as raised:
        next(events)
    assert (raised.value.type, raised.value.code) == ("MuxiError", "MODEL_ERROR")
    assert raised.value.message == "the model is gone"


def test_events_by_query(formation: SdkClient) -> None:
    (event,) = formation.stream("stream_events", "someone else+1")
    assert event.data == {"user": "someone else+1"}


def test_answers_without_a_body(formation: SdkClient) -> None:
    assert formation.call("set_secret", "API_KEY", "value") is None
    assert formation.call("delete_secret", "API_KEY") is None
    assert formation.call("health")["status"] == "healthy"


def test_the_agents_own_error_comes_through(formation: SdkClient) -> None:
    with pytest.raises(SdkError) as raised:
        formation.call("get_agent", "missing")
    assert (raised.value.type, raised.value.status_code) == ("NotFoundError", 404)
    assert raised.value.message == "nothing at /v1/agents/missing"
    assert raised.value.details["error"]["code"] == "AGENT_NOT_FOUND"


def test_the_agents_own_refusal_comes_through(
    python: Path, style: Style, server: LiveServer, agent: str, tmp_path: Path
) -> None:
    config = {"server_url": server.url, "formation_id": agent, "client_key": "wrong", "admin_key": "wrong"}
    with driven(python, style, "FormationClient", tmp_path, **config) as stranger:
        with pytest.raises(SdkError) as raised:
            stranger.call("chat", {"message": "hello"})
        assert raised.value.type == "AuthenticationError"
        with pytest.raises(SdkError) as raised:
            stranger.call("get_status")
        assert raised.value.type == "AuthorizationError"


@pytest.mark.parametrize("mode", ["live", "draft"])
def test_an_unknown_formation(
    python: Path, style: Style, server: LiveServer, tmp_path: Path, mode: str
) -> None:
    config = {"server_url": server.url, "formation_id": "nobody", "mode": mode}
    with (
        driven(python, style, "FormationClient", tmp_path, **config, **KEYS) as lost,
        pytest.raises(SdkError) as raised,
    ):
        lost.call("chat", {"message": "hello"})
    assert (raised.value.type, raised.value.status_code) == ("NotFoundError", 404)
    assert raised.value.code == 404
    assert "'nobody'" in raised.value.message
    assert raised.value.details["error"]["code"] == "FORMATION_NOT_FOUND"


def test_a_stopped_formation(
    python: Path, style: Style, server: LiveServer, deploy: Callable[[str], str], tmp_path: Path
) -> None:
    name = deploy("stopped-one")
    assert server.rpc("POST", f"/rpc/formations/{name}/stop").status_code == 200
    config = {"server_url": server.url, "formation_id": name}
    with driven(python, style, "FormationClient", tmp_path, **config, **KEYS) as waiting:
        with pytest.raises(SdkError) as raised:
            waiting.call("health")
        assert (raised.value.type, raised.value.status_code) == ("ServerError", 503)
        assert "is not running (status: stopped)" in raised.value.message
        assert server.rpc("POST", f"/rpc/formations/{name}/start").status_code == 200
        assert waiting.call("health")["status"] == "healthy"
