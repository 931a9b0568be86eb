from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from muxi.errors import FormationFailed
from tests.api.harness import Answer, Api, make_api, make_scope

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = ("127.0.0.1", 40000)
ELSEWHERE = ("192.0.2.7", 40000)


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path)


async def ask(
    api: Api, path: str, body: object, *, client: tuple[str, int] = LOCAL, **headers: str
) -> Answer:
    scope = make_scope("POST", path, {"Authorization": api.signature("POST", path), **headers})
    scope["client"] = client
    async with api.exchange(scope) as exchange:
        await exchange.send(body if isinstance(body, bytes) else json.dumps(body).encode(), last=True)
        await exchange.ended.wait()
    return exchange.answer()


async def test_run_and_stop_answer_without_an_envelope(api: Api) -> None:
    answer = await ask(api, "/rpc/dev/run", {"path": "/home/me/bot", "watch": True})
    assert answer.status == 200
    assert {name: answer.json[name] for name in ("success", "formation_id", "port", "status")} == {
        "success": True,
        "formation_id": "a-bot",
        "port": 8003,
        "status": "running",
    }
    assert answer.json["url"] == "http://localhost:7890/draft/a-bot"
    assert api.dev.asked == [("/home/me/bot", None, True)]
    answer = await ask(api, "/rpc/dev/stop", {"formation_id": "a-bot"})
    assert answer.json == {"success": True, "formation_id": "a-bot", "status": "stopped"}
    assert api.dev.stopped == ["a-bot"]


async def test_a_failure_has_the_same_form(api: Api) -> None:
    api.dev.refusal = FormationFailed("Formation crashed during startup: exit status 3", cure="Mend it.")
    answer = await ask(api, "/rpc/dev/run", {"path": "/home/me/bot"})
    assert answer.status == 400
    assert (answer.json["success"], answer.json["port"], answer.json["status"]) == (False, 0, "")
    assert answer.json["error"] == "Formation crashed during startup: exit status 3"
    assert (answer.json["cure"], answer.json["code"]) == ("Mend it.", 400)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("run", b"{"),
        ("run", []),
        ("run", {"path": "/x", "watch": "yes"}),
        ("stop", {}),
        ("stop", {"formation_id": 7}),
    ],
)
async def test_an_odd_request_is_refused(api: Api, path: str, body: object) -> None:
    answer = await ask(api, f"/rpc/dev/{path}", body)
    assert answer.status in {400, 422}
    assert answer.json["error"] == answer.json["message"]
    assert (api.dev.asked, api.dev.stopped) == ([], [])


@pytest.mark.parametrize(
    ("settings", "client", "headers"),
    [
        ({"allow_dev": False, "allow_dev_remote": True}, LOCAL, {}),
        ({}, ELSEWHERE, {}),
        ({}, ("", 0), {}),
        ({}, LOCAL, {"X-Forwarded-For": "192.0.2.7"}),
        ({}, LOCAL, {"Origin": "http://localhost:3000"}),
    ],
)
async def test_who_may_not(
    tmp_path: Path, settings: dict[str, Any], client: tuple[str, int], headers: dict[str, str]
) -> None:
    api = make_api(tmp_path, **settings)
    for path in ("/rpc/dev/run", "/rpc/dev/stop"):
        body = {"path": "/x", "formation_id": "a-bot"}
        answer = await ask(api, path, body, client=client, **headers)
        assert (answer.status, answer.json["error_code"]) == (403, "DevNotAllowed")
        assert answer.json["cure"]
    assert (api.dev.asked, api.dev.stopped) == ([], [])
    assert [entry["status"] for entry in await api.audited()] == [403, 403]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1"])
async def test_every_local_address_may(api: Api, address: str) -> None:
    assert (await ask(api, "/rpc/dev/run", {"path": "/x"}, client=(address, 1))).status == 200


async def test_others_may_when_it_is_allowed(tmp_path: Path) -> None:
    api = make_api(tmp_path, allow_dev_remote=True)
    assert (await ask(api, "/rpc/dev/run", {"path": "/x"}, client=ELSEWHERE)).status == 200
