from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from muxi.errors import Conflict
from muxi.formation.operation import Operation
from muxi.formation.wishes import RollbackWish, UpdateWish
from tests.api.harness import BUNDLE, GZIP, Api, make_api, view

if TYPE_CHECKING:
    from pathlib import Path

ONE = "/rpc/formations/my-bot"
RESULT = {"port": 8002, "status": "running", "version": "1.1.0", "previous_version": "1", "new_version": "2"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    api = make_api(tmp_path, view("my-bot"))
    api.fleet.results |= {"update": RESULT, "rollback": RESULT}
    return api


def left_behind(api: Api) -> list[Path]:
    directory = api.directory / "tmp"
    return list(directory.iterdir()) if directory.exists() else []


@pytest.mark.parametrize("content_type", ["application/gzip", "text/plain", ""])
async def test_a_bundle_may_be_said_to_be_of_any_type(api: Api, content_type: str) -> None:
    headers = {"X-Formation-Version": "1.1.0"} | ({"Content-Type": content_type} if content_type else {})
    answer = await api.call("PUT", ONE, headers=headers, data=BUNDLE)
    assert answer.status == 200
    assert answer.data == {"id": "my-bot", "formation_id": "my-bot", **RESULT}
    assert api.fleet.uploads == [(BUNDLE, "my-bot", "1.1.0")]


@pytest.mark.parametrize(
    ("path", "headers", "fields", "wish"),
    [
        (ONE, {}, {}, UpdateWish()),
        (f"{ONE}?force=true&strategy=recreate", {}, {}, UpdateWish(None, "recreate", force=True)),
        (
            ONE,
            {"X-Muxi-Force": "true", "X-Muxi-Strategy": "blue-green"},
            {},
            UpdateWish(None, "blue-green", True),
        ),
        (ONE, {}, {"force": True, "strategy": "recreate", "version": "2"}, UpdateWish("2", "recreate", True)),
        (ONE, {}, {"force": False, "strategy": None}, UpdateWish()),
    ],
)
async def test_what_can_be_wished_for(
    api: Api, path: str, headers: dict[str, str], fields: dict[str, Any], wish: UpdateWish
) -> None:
    body = json.dumps({"bundle": base64.b64encode(BUNDLE).decode(), **fields}).encode()
    answer = await api.call("PUT", path, headers=JSON | headers, data=body)
    assert (answer.status, api.fleet.wishes) == (200, [wish])


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/rpc/formations/nobody", GZIP, 404, "NotFound"),
        (f"{ONE}?strategy=bluegreen", GZIP, 422, "InvalidStrategy"),
        (f"{ONE}?force=perhaps", GZIP, 422, "InvalidPayload"),
        (ONE, GZIP | {"X-Formation-ID": "other-bot"}, 400, "IDMismatch"),
        (ONE, GZIP | {"Content-Length": "99999999"}, 413, "TooLarge"),
    ],
)
async def test_a_refused_update_leaves_nothing(
    api: Api, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await api.call("PUT", path, headers=headers, data=BUNDLE)
    assert (answer.status, answer.json["error_code"]) == (status, code)
    assert api.fleet.operations == []
    assert left_behind(api) == []


async def test_an_update_of_another_formation_in_json_is_refused(api: Api) -> None:
    body = json.dumps({"id": "other-bot", "bundle": base64.b64encode(BUNDLE).decode()}).encode()
    answer = await api.post(f"{ONE}/update", body, **JSON)
    assert (answer.status, answer.json["error_code"]) == (422, "IDMismatch")


async def test_a_busy_formation_is_told_of_before_the_bundle_is_sent(api: Api) -> None:
    running = Operation("update", "my-bot")
    running.progress("health_check", "Waiting…")
    api.fleet.operations.append(running)
    api.fleet.views["my-bot"] = view("my-bot", operation_id=running.id)
    for method, path in (("PUT", ONE), ("POST", f"{ONE}/rollback")):
        answer = await api.call(method, path, headers=GZIP, data=BUNDLE)
        assert (answer.status, answer.json["error_code"]) == (409, "OperationInProgress")
        assert answer.json["details"] == {
            "operation_id": running.id,
            "stage": "health_check",
            "kind": "update",
        }
    assert api.fleet.upload_path is None


async def test_an_upload_is_discarded_when_the_fleet_refuses_it(api: Api) -> None:
    api.fleet.refusal = Conflict("busy")
    assert (await api.call("PUT", ONE, headers=GZIP, data=BUNDLE)).status == 409
    assert left_behind(api) == []


@pytest.mark.parametrize(
    ("path", "headers", "body", "wish"),
    [
        (f"{ONE}/rollback", {}, b"", RollbackWish()),
        (f"{ONE}/rollback", JSON, b"", RollbackWish()),
        (f"{ONE}/rollback", JSON, b"{}", RollbackWish()),
        (f"{ONE}/rollback", JSON, b'{"release": 3}', RollbackWish(3)),
        (f"{ONE}/rollback", JSON, b'{"version": "1.0.0"}', RollbackWish("1.0.0")),
        (f"{ONE}/rollback?release=3&strategy=recreate", {}, b"", RollbackWish(3, "recreate")),
        (f"{ONE}/rollback/stream", JSON, b'{"version": null}', RollbackWish()),
    ],
)
async def test_a_rollback_goes_to_the_previous_or_to_a_named_release(
    api: Api, path: str, headers: dict[str, str], body: bytes, wish: RollbackWish
) -> None:
    answer = await api.post(path, body, **headers)
    assert (answer.status, api.fleet.wishes) == (200, [wish])


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"release": true}', b'{"release": 1.5}', b'{"to": 1}'])
async def test_a_rollback_to_something_odd_is_refused(api: Api, body: bytes) -> None:
    answer = await api.post(f"{ONE}/rollback", body, **JSON)
    assert answer.status == 422
    assert api.fleet.operations == []
