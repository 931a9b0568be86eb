from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

from muxi.errors import Conflict, FormationFailed, TooLarge
from tests.api.harness import BUNDLE, GZIP, Api, make_api, make_scope, view

if TYPE_CHECKING:
    from pathlib import Path

RESULT = {
    "id": "new-bot",
    "formation_id": "new-bot",
    "port": 8002,
    "version": "1.0.0",
    "status": "running",
    "url": "http://localhost:7890/api/new-bot",
    "health_url": "http://127.0.0.1:8002/v1/health",
    "pid": 4712,
}
NAMED = GZIP | {"X-Formation-ID": "new-bot"}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    api = make_api(tmp_path, view("my-bot"))
    api.fleet.results["deploy"] = RESULT
    return api


def left_behind(api: Api) -> list[Path]:
    directory = api.directory / "tmp"
    return list(directory.iterdir()) if directory.exists() else []


@pytest.mark.parametrize(
    "content_type",
    [
        "application/gzip",
        "application/x-gzip",
        "application/octet-stream",
        "Application/GZIP; charset=binary",
    ],
)
async def test_deploy(api: Api, content_type: str) -> None:
    headers = {"Content-Type": content_type, "X-Formation-ID": "new-bot", "X-Formation-Version": "2.0.0"}
    answer = await api.post("/rpc/formations", BUNDLE, **headers)
    assert answer.status == 201
    assert answer.data == RESULT
    assert api.fleet.uploads == [(BUNDLE, "new-bot", "2.0.0")]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/rpc/formations/deploy", NAMED),
        ("/rpc/formations/new-bot/deploy", GZIP),
        ("/rpc/formations/new-bot/deploy", NAMED),
    ],
)
async def test_the_bundle_may_come_on_the_other_routes_too(
    api: Api, path: str, headers: dict[str, str]
) -> None:
    assert (await api.post(path, BUNDLE, **headers)).status == 201
    assert api.fleet.uploads == [(BUNDLE, "new-bot", None)]


REFUSED = [
    ({}, 400, "InvalidContentType", "application/gzip"),
    (
        {"Content-Type": "application/zip", "X-Formation-ID": "new-bot"},
        400,
        "InvalidContentType",
        "application/gzip",
    ),
    (
        {"Content-Type": "application/json", "X-Formation-ID": "my-bot"},
        400,
        "InvalidContentType",
        "application/gzip",
    ),
    (GZIP, 400, "MissingHeader", "X-Formation-ID"),
    (GZIP | {"X-Formation-ID": ""}, 400, "InvalidFormationID", "Invalid X-Formation-ID: "),
    (GZIP | {"X-Formation-ID": "../etc"}, 400, "InvalidFormationID", "Invalid X-Formation-ID: "),
    (GZIP | {"X-Formation-ID": "health"}, 400, "InvalidFormationID", "Invalid X-Formation-ID: "),
    (
        GZIP | {"X-Formation-ID": "my-bot"},
        409,
        "FormationExists",
        "Formation 'my-bot' already exists. Use PUT to update.",
    ),
    (NAMED | {"Content-Length": "1048577"}, 413, "TooLarge", "1,048,576"),
]


@pytest.mark.parametrize(("headers", "status", "code", "message"), REFUSED)
@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
async def test_what_the_head_shows_is_refused_before_the_body_is_read(
    api: Api, headers: dict[str, str], status: int, code: str, message: str, *, accept: str
) -> None:
    signed = headers | {"Accept": accept, "Authorization": api.signature("POST", "/rpc/formations")}
    async with api.exchange(make_scope("POST", "/rpc/formations", signed)) as exchange:
        answer = json.loads(await exchange.chunk())  # not one byte of the body was sent
    assert exchange.status == status
    assert answer["error_code"] == code
    assert message in answer["message"]


async def test_an_unsigned_upload_is_refused_before_its_body(api: Api) -> None:
    async with api.exchange(make_scope("POST", "/rpc/formations", NAMED)) as exchange:
        await exchange.started.wait()
    assert exchange.status == 401


async def test_a_body_past_the_limit_is_413_and_leaves_nothing(api: Api) -> None:
    headers = NAMED | {"Authorization": api.signature("POST", "/rpc/formations")}
    async with api.exchange(make_scope("POST", "/rpc/formations", headers)) as exchange:
        for _ in range(20):
            await exchange.send(b"x" * 65536)
        await exchange.started.wait()
    assert exchange.status == 413
    assert left_behind(api) == []
    assert not api.fleet.uploads


async def test_a_refused_deploy_discards_the_upload(api: Api) -> None:
    api.fleet.refusal = Conflict("Another operation is under way")
    answer = await api.post("/rpc/formations", BUNDLE, **NAMED)
    assert answer.status == 409
    assert api.fleet.upload_path is not None
    assert left_behind(api) == []


async def test_a_client_that_leaves_while_uploading_leaves_nothing(api: Api) -> None:
    headers = NAMED | {"Authorization": api.signature("POST", "/rpc/formations")}
    async with api.exchange(make_scope("POST", "/rpc/formations", headers)) as exchange:
        await exchange.send(b"x" * 300_000)
        await exchange.send(b"x")
        await exchange.leave()
    assert left_behind(api) == []
    assert not api.fleet.operations
    assert (await api.audited())[0]["status"] == 499


async def test_an_upload_that_stalls_is_given_up(tmp_path: Path) -> None:
    api = make_api(tmp_path, body_chunk_timeout=0.3)
    headers = NAMED | {"Authorization": api.signature("POST", "/rpc/formations")}
    with trio.fail_after(30):
        async with api.exchange(make_scope("POST", "/rpc/formations", headers)) as exchange:
            await exchange.send(b"x")
            answer = json.loads(await exchange.chunk())
    assert exchange.status == 408
    assert answer["error_code"] == "BodyTimeout"
    assert left_behind(api) == []


async def test_a_failed_deploy_says_why(api: Api) -> None:
    api.fleet.results["deploy"] = FormationFailed(
        "Formation crashed during startup: exit status 3",
        stage="health_check",
        details={"log_tail": ["boom"]},
    )
    answer = await api.post("/rpc/formations", BUNDLE, **NAMED)
    assert answer.status == 400
    assert answer.json["error_code"] == "HealthCheckFailed"
    assert answer.json["details"]["log_tail"] == ["boom"]


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["/rpc/formations/new-bot/deploy", "/rpc/formations/deploy"])
async def test_deploy_by_json(api: Api, tmp_path: Path, path: str) -> None:
    file = tmp_path / "bundle.tar.gz"
    file.write_bytes(BUNDLE)
    by_path = {"id": "new-bot", "bundle_path": str(file), "version": "1.0.0"}
    by_value = {"id": "new-bot", "bundle": base64.b64encode(BUNDLE).decode()}
    for content, version in [(by_path, "1.0.0"), (by_value, None)]:
        api.fleet.uploads.clear()
        answer = await api.post(path, json.dumps(content).encode(), **JSON)
        assert answer.status == 201
        assert answer.data == RESULT
        assert api.fleet.uploads == [(BUNDLE, "new-bot", version)]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"bundle_path": 3},
        {"bundle_path": 0},
        {"bundle_path": True},
        {"bundle_path": ["/etc/passwd"]},
        {"bundle_path": None},
        {"bundle_path": ""},
        {"bundle_path": "relative.tar.gz"},
        {"bundle_path": "/no/such/file"},
        {"bundle_path": "/dev/zero"},
        {"bundle_path": "/"},
        {"bundle_path": "/a\0b"},
        {"bundle_path": "/a\ud800"},
        {"bundle": "not base64!"},
        {"bundle": "ÄÄÄÄ"},
        {"bundle": 5},
        {"bundle": "AAAA", "bundle_path": "/x"},
        {"bundle": "AAAA", "version": 1},
        {"bundle": "AAAA", "id": "other-bot"},
        {"bundle": "AAAA", "id": "new-bot", "formation_id": "other-bot"},
        {"bundle": "AAAA", "colour": "red"},
        [],
        "text",
        None,
    ],
)
async def test_json_of_any_other_kind_is_422(api: Api, content: Any) -> None:
    answer = await api.post("/rpc/formations/new-bot/deploy", json.dumps(content).encode(), **JSON)
    assert answer.status == 422
    assert answer.json["cure"]
    assert left_behind(api) == []
    assert not api.fleet.uploads


async def test_a_pipe_named_as_bundle_is_not_waited_for(api: Api, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    content = json.dumps({"bundle_path": str(tmp_path / "pipe")}).encode()
    with trio.fail_after(30):
        answer = await api.post("/rpc/formations/new-bot/deploy", content, **JSON)
    assert answer.status == 422


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"bundle": "' + b"A" * 300_000])
async def test_broken_json_is_422(api: Api, body: bytes) -> None:
    answer = await api.post("/rpc/formations/new-bot/deploy", body, **JSON)
    assert answer.status == 422
    assert answer.json["error_code"] == "InvalidJSON"


async def test_json_past_its_limit_is_413(tmp_path: Path) -> None:
    api = make_api(tmp_path, max_json_size=1000)
    answer = await api.post("/rpc/formations/new-bot/deploy", b" " * 1001, **JSON)
    assert answer.status == 413
    assert answer.json["error_code"] == TooLarge.default_code


async def test_json_deploy_checks_the_id_first(api: Api) -> None:
    assert (await api.post("/rpc/formations/my-bot/deploy", b"{}", **JSON)).status == 409
    assert (await api.post("/rpc/formations/ab/deploy", b"{}", **JSON)).status == 400
    assert (await api.post("/rpc/formations/deploy", b'{"bundle": "AAAA"}', **JSON)).status == 422
    existing = b'{"id": "my-bot", "bundle": "AAAA"}'
    assert (await api.post("/rpc/formations/deploy", existing, **JSON)).status == 409
    assert (
        await api.post("/rpc/formations/new-bot/deploy", b"", **{"Content-Type": "text/plain"})
    ).status == 400
    other = GZIP | {"X-Formation-ID": "other-bot"}
    assert (await api.post("/rpc/formations/new-bot/deploy", BUNDLE, **other)).json[
        "error_code"
    ] == "IDMismatch"
