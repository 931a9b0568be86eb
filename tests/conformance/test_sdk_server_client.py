"""The real Python SDK's ServerClient and AsyncServerClient against a running server."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.conformance.bundles import agent_bundle, crashing_bundle
from tests.conformance.sdk import SdkClient, SdkError, Style, driven

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.live import LiveServer

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def encoded(packed: bytes) -> str:
    return base64.b64encode(packed).decode()


def test_ping_has_a_length(client: SdkClient) -> None:
    assert client.call("ping") == len("pong")


def test_health(client: SdkClient) -> None:
    health = client.call("health")
    assert health["status"] == "ok"
    assert type(health["formations"]) is int
    assert set(health["port_pool"]) >= {"allocated", "available", "total"}


def test_status(client: SdkClient, server: LiveServer) -> None:
    status = client.call("status")
    assert status["server"]["server_id"] == "server-test-00000000"
    assert status["server"]["port"] == int(server.url.rpartition(":")[2])
    assert status["formations"]["total"] == 0
    assert status["ports"]["allocated"] == 0


def test_deploying_base64_then_seeing_it(client: SdkClient, server: LiveServer, style: Style) -> None:
    name = f"base64-{style}"
    deployed = client.call("deploy_formation", name, {"bundle": encoded(agent_bundle(name))})
    assert deployed["id"] == name
    assert deployed["status"] == "running"
    assert deployed["version"] == "1.0.0"
    assert type(deployed["port"]) is int
    listed = client.call("list_formations")
    assert [item["id"] for item in listed["formations"]] == [name]
    assert listed["total"] == 1
    got = client.call("get_formation", name)
    assert got["version"]["semantic"] == "1.0.0"
    assert got["healthy"] is True
    assert all(TIME.fullmatch(got[field]) for field in ("created_at", "deployed_at", "updated_at"))
    client.call("delete_formation", name)
    assert client.call("list_formations")["total"] == 0
    assert server.get(f"/api/{name}/v1/health").status_code == 404


def test_deploying_from_a_path(client: SdkClient, tmp_path: Path, style: Style) -> None:
    name = f"path-{style}"
    packed = tmp_path / "bundle.tar.gz"
    packed.write_bytes(agent_bundle(name))
    payload = {"id": name, "bundle_path": str(packed), "version": "1.0.0"}
    assert client.call("deploy_formation", name, payload)["status"] == "running"
    assert packed.exists()
    assert client.call("delete_formation", name)["id"] == name


def test_deploying_step_by_step(client: SdkClient, server: LiveServer, style: Style) -> None:
    name = f"stream-{style}"
    payload = {"bundle": encoded(agent_bundle(name))}
    *steps, last = client.stream("deploy_formation_stream", name, payload)
    assert {step.name for step in steps} == {"progress"}
    stages = list(dict.fromkeys(step.data["stage"] for step in steps))
    assert stages == ["extracting", "validating", "resolving_runtime", "spawning", "health_check"]
    assert last.name == "complete"
    assert "stage" not in last.data
    assert last.data["formation_id"] == name
    assert type(last.data["port"]) is int
    assert type(last.data["pid"]) is int
    assert server.get(f"/api/{name}/v1/health").json()["status"] == "healthy"
    client.call("delete_formation", name)


def test_a_formation_that_crashes_ends_the_stream_with_its_reason(client: SdkClient, style: Style) -> None:
    name = f"crash-{style}"
    *_, last = client.stream("deploy_formation_stream", name, {"bundle": encoded(crashing_bundle(name))})
    assert last.name == "error"
    assert "exit status 3" in last.data["message"] or "status 3" in last.data["message"]
    assert "no model key found" in json.dumps(last.data)
    with pytest.raises(SdkError) as raised:
        client.call("get_formation", name)
    assert raised.value.type == "NotFoundError"


def test_stop_start_restart(client: SdkClient, deploy: Callable[[str], str]) -> None:
    name = deploy("lifecycle")
    first = client.call("get_formation", name)["pid"]
    assert client.call("stop_formation", name)["status"] == "stopped"
    assert client.call("get_formation", name)["status"] == "stopped"
    assert client.call("start_formation", name)["status"] == "running"
    second = client.call("get_formation", name)["pid"]
    assert client.call("restart_formation", name)["status"] == "running"
    third = client.call("get_formation", name)["pid"]
    assert len({first, second, third}) == 3


def test_restart_and_start_step_by_step(client: SdkClient, deploy: Callable[[str], str]) -> None:
    name = deploy("steps")
    *steps, last = client.stream("restart_formation_stream", name)
    stages = list(dict.fromkeys(step.data["stage"] for step in steps if step.data["stage"] != "draining"))
    assert stages == ["stopping", "validating", "resolving_runtime", "spawning", "health_check"]
    assert (last.name, last.data["status"]) == ("complete", "running")
    client.call("stop_formation", name)
    *steps, last = client.stream("start_formation_stream", name)
    assert "spawning" in {step.data["stage"] for step in steps}
    assert (last.name, last.data["formation_id"]) == ("complete", name)


def test_logs(client: SdkClient, server: LiveServer, deploy: Callable[[str], str]) -> None:
    name = deploy("logs")
    server.get(f"/api/{name}/v1/marker")
    logs = client.call("get_formation_logs", name)
    assert logs["formation_id"] == name
    assert logs["logs"]["stdout"][0] == "agent started"
    assert "/v1/marker" in "".join(logs["logs"]["stdout"])
    assert logs["logs"]["stderr"] == []
    assert len(client.call("get_formation_logs", name, limit=1)["logs"]["stdout"]) == 1


def test_following_logs_shows_a_new_line(
    client: SdkClient, server: LiveServer, deploy: Callable[[str], str]
) -> None:
    name = deploy("follow")
    events = client.stream("stream_formation_logs", name, take=2)
    assert next(events).name == "connected"
    server.get(f"/api/{name}/v1/marker")
    log = next(events)
    assert (log.name, log.data["stream"]) == ("log", "stdout")
    assert "/v1/marker" in log.data["line"]
    assert TIME.fullmatch(log.data["time"])
    assert list(events) == []


def test_server_logs_are_lines_of_json(client: SdkClient) -> None:
    client.call("status")
    # The SDK decodes what happens to be one JSON document, and returns the text of anything else.
    text = client.call("get_server_logs", limit=20)
    lines = [json.loads(line) for line in text.splitlines()]
    assert any(line["route"] == "/rpc/server/status" for line in lines)


@pytest.mark.parametrize("method", ["get_formation", "stop_formation", "start_formation", "delete_formation"])
def test_an_unknown_formation(client: SdkClient, method: str) -> None:
    with pytest.raises(SdkError) as raised:
        client.call(method, "nobody")
    assert (raised.value.type, raised.value.status_code) == ("NotFoundError", 404)
    assert raised.value.code == 404
    assert raised.value.message == "Formation not found"


def test_what_exists_or_stands_so_already_is_a_conflict(
    client: SdkClient, deploy: Callable[[str], str]
) -> None:
    name = deploy("conflict")
    expected = "Formation 'conflict' already exists. Use PUT to update."
    conflict(client, expected, "deploy_formation", name, {"bundle": encoded(agent_bundle(name))})
    conflict(client, "Formation is already running", "start_formation", name)
    client.call("stop_formation", name)
    conflict(client, "Formation is already stopped", "stop_formation", name)


def conflict(client: SdkClient, message: str, method: str, *args: object) -> None:
    with pytest.raises(SdkError) as raised:
        client.call(method, *args)
    assert (raised.value.type, raised.value.status_code) == ("ConflictError", 409)
    assert raised.value.message == message


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"bundle_path": 0},
        {"bundle_path": "relative.tar.gz"},
        {"bundle_path": "/nowhere/bundle.tar.gz"},
        {"bundle": "not base64!"},
        {"bundle": "", "bundle_path": ""},
        {"bundle_path": "/a", "bundle": "aGVsbG8="},
        {"source": "/somewhere"},
    ],
    ids=json.dumps,
)
def test_a_payload_that_makes_no_sense(client: SdkClient, payload: dict[str, object]) -> None:
    with pytest.raises(SdkError) as raised:
        client.call("deploy_formation", "payload", payload)
    assert (raised.value.type, raised.value.status_code) == ("ValidationError", 422)
    assert raised.value.details["cure"]


def test_a_bad_bundle_and_a_wrong_version(client: SdkClient) -> None:
    for payload in (
        {"bundle": encoded(b"not a tar")},
        {"bundle": encoded(agent_bundle("other"))},
        {"bundle": encoded(agent_bundle("bad-one")), "version": "2.0.0"},
    ):
        with pytest.raises(SdkError) as raised:
            client.call("deploy_formation", "bad-one", payload)
        assert (raised.value.type, raised.value.status_code) == ("MuxiError", 400)
        assert raised.value.details["cure"]


def test_an_error_of_a_streaming_call_is_an_event(client: SdkClient, deploy: Callable[[str], str]) -> None:
    """The SDK never looks at the status of a streaming call; an answer without events shows nothing."""
    (event,) = client.stream("start_formation_stream", "nobody")
    assert (event.name, event.data["message"]) == ("error", "Formation not found")
    name = deploy("twice")
    (event,) = client.stream("deploy_formation_stream", name, {"bundle": encoded(agent_bundle(name))})
    assert (event.name, event.data["error"]) == ("error", "FormationExists")
    (event,) = client.stream("update_formation_stream", name, {})
    assert (event.name, event.data["error"]) == ("error", "InvalidPayload")
    (event,) = client.stream("rollback_formation_stream", "nobody")
    assert (event.name, event.data["message"]) == ("error", "Formation not found")


def test_update_and_rollback(client: SdkClient, deploy: Callable[[str], str]) -> None:
    name = deploy("updated")
    before = client.call("get_formation", name)
    new = {"bundle": encoded(agent_bundle(name, "1.1.0")), "version": "1.1.0"}
    answer = client.call("update_formation", name, new)
    assert (answer["id"], answer["status"], answer["version"]) == (name, "running", "1.1.0")
    after = client.call("get_formation", name)
    assert (after["version"]["semantic"], after["port"]) == ("1.1.0", answer["port"])
    assert after["pid"] != before["pid"]
    with pytest.raises(SdkError) as raised:
        client.call("update_formation", name, new)
    assert (raised.value.type, raised.value.status_code) == ("ConflictError", 409)
    back = client.call("rollback_formation", name)
    assert (back["id"], back["previous_version"], back["current_version"]) == (name, "2", "1")
    assert client.call("get_formation", name)["version"]["semantic"] == "1.0.0"


def test_update_and_rollback_step_by_step(client: SdkClient, deploy: Callable[[str], str]) -> None:
    name = deploy("steps-on")
    *steps, last = client.stream(
        "update_formation_stream", name, {"bundle": encoded(agent_bundle(name, "1.1.0"))}
    )
    stages = {step.data["stage"] for step in steps}
    assert {"extracting", "spawning_staging", "health_check", "swapping", "stopping_old"} <= stages
    assert (last.name, last.data["previous_version"], last.data["new_version"]) == ("complete", "1", "2")
    *steps, last = client.stream("rollback_formation_stream", name)
    assert "swapping" in {step.data["stage"] for step in steps}
    assert (last.name, last.data["formation_id"], type(last.data["port"])) == ("complete", name, int)


def test_a_cancel_without_an_update(client: SdkClient, deploy: Callable[[str], str]) -> None:
    with pytest.raises(SdkError) as raised:
        client.call("cancel_update", deploy("quiet"))
    assert raised.value.status_code == 400
    assert raised.value.message == "No update in progress for this formation"


@pytest.mark.parametrize("wrong", ["secret", "key"])
def test_wrong_credentials(
    python: Path, style: Style, server: LiveServer, tmp_path: Path, wrong: str
) -> None:
    key = server.key if wrong == "secret" else "MUXI_" + "f" * 16
    secret = server.secret if wrong == "key" else "sk_" + "f" * 64
    with driven(
        python, style, "ServerClient", tmp_path, url=server.url, key_id=key, secret_key=secret
    ) as stranger:
        assert stranger.call("ping") == 4
        for method in ("status", "list_formations"):
            with pytest.raises(SdkError) as raised:
                stranger.call(method)
            assert (raised.value.type, raised.value.status_code) == ("AuthenticationError", 401)
            assert raised.value.message in {"Invalid key", "Invalid signature"}


def test_old_key_format_and_blanks_around_it(
    python: Path, style: Style, server: LiveServer, tmp_path: Path
) -> None:
    from tests.live import OLD_KEY, OLD_SECRET

    config = {"key_id": f" {OLD_KEY}\n", "secret_key": f"{OLD_SECRET} ", "url": f"{server.url}/"}
    with driven(python, style, "ServerClient", tmp_path, **config) as old:
        assert old.call("status")["server"]["server_id"]
