from __future__ import annotations

import base64
import json
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from muxi.config.model import Paths, defaults
from muxi.formation.releases import workspace
from tests.api.harness import Api, make_api, view

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/rpc/formations/my-bot/draft/files"
NO_LIVE: dict[str, object] = {}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path)


@pytest.fixture
def live(tmp_path: Path) -> Api:
    """Give an API with a deployed formation, its files and all."""
    api = make_api(tmp_path, view("my-bot"))
    deploy(api, "1.2.0")
    return api


def deploy(api: Api, version: str) -> None:
    base = api.facilities.formations_dir
    root = workspace(base) / "extracted"
    root.mkdir(parents=True)
    (root / "formation.afs").write_text(f"id: my-bot\nversion: {version}\ncommand: [x]\n")
    api.facilities.releases("my-bot").install(root, semantic=version, bundle_hash="b", content_hash="c")


async def act(
    api: Api, action: str, status: int = 200, route: str = PATH, **fields: object
) -> dict[str, Any]:
    answer = await api.post(route, json.dumps({"action": action, **fields}).encode())
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    return answer.json


async def test_the_whole_way_of_a_new_draft(api: Api) -> None:
    made = await act(api, "init", mode="new")
    created = made["draft"].pop("created_at")
    assert created.endswith("Z")
    assert made == {
        "success": True,
        "data": {"action": "init", "mode": "new"},
        "draft": {"exists": True},
        "live": NO_LIVE,
    }
    listed = await act(api, "list", path="")
    assert listed["data"]["path"] == "."
    assert [(item["name"], item["type"]) for item in listed["data"]["entries"]] == [
        ("app.py", "file"),
        ("formation.afs", "file"),
    ]
    written = await act(api, "write", path="/agents/one.afs", content="id: öne")
    assert written["data"] == {"path": "agents/one.afs", "size": 8, "written": True}
    read = await act(api, "read", path="agents/one.afs")
    assert read["data"] == {"path": "agents/one.afs", "content": "id: öne", "encoding": "utf-8"}
    deleted = await act(api, "delete", path="agents/one.afs")
    assert deleted["data"] == {"path": "agents/one.afs", "deleted": True}
    empty = await act(api, "list", path="agents")
    assert empty["data"] == {"path": "agents", "entries": []}
    discarded = await act(api, "discard")
    assert discarded == {
        "success": True,
        "data": {"discarded": True},
        "draft": {"exists": False},
        "live": NO_LIVE,
    }


async def test_a_clone_tells_of_its_base_and_of_drift(live: Api) -> None:
    made = await act(live, "init", mode="clone")
    assert made["draft"]["base_version"] == "1.2.0"
    assert made["live"] == {"version": "1.2.0", "status": "running"}
    assert "drifted" not in made["draft"]
    deploy(live, "1.3.0")
    listed = await act(live, "list")
    assert listed["draft"]["drifted"] is True
    assert listed["data"]["entries"] == [
        {"name": "formation.afs", "type": "file", "size": len("id: my-bot\nversion: 1.2.0\ncommand: [x]\n")}
    ]


async def test_bytes_go_both_ways_as_base64(api: Api) -> None:
    await act(api, "init", mode="new")
    data = bytes(range(256))
    text = base64.b64encode(data).decode()
    await act(api, "write", path="image.png", content=text, encoding="base64")
    read = await act(api, "read", path="image.png", encoding="base64")
    assert read["data"] == {"path": "image.png", "content": text, "encoding": "base64"}
    refused = await act(api, "read", 400, path="image.png")
    assert refused["error"] == "DecodeError"
    assert "base64" in refused["message"]


async def test_secrets_are_private(api: Api) -> None:
    await act(api, "init", mode="new")
    await act(api, "write", path=".key", content="k")
    root = api.facilities.draft("my-bot").root
    assert stat.S_IMODE((root / ".key").stat().st_mode) == 0o600


@pytest.mark.parametrize(("choice", "status"), [("all", 200), ("encrypted", 200), ("none", 403)])
async def test_whether_secrets_are_shown_is_configured(tmp_path: Path, choice: str, status: int) -> None:
    paths = Paths(*(tmp_path / name for name in ("config", "data", "log", "cache", "config.yaml")))
    config = defaults(paths)
    config = replace(config, formations=replace(config.formations, download_secrets=choice))
    api = make_api(tmp_path, config=config)
    await act(api, "init", mode="new")
    for name in (".key", "a/../.env/", "agents/secrets.enc/."):
        await act(api, "write", path=name, content="s")
        said = await act(api, "read", status, path=name)
        assert said["success"] is (status == 200)
    assert (await act(api, "read", path="app.py"))["success"]


NEW: dict[str, object] = {"action": "init", "mode": "new"}

WRITE: dict[str, object] = {"action": "write", "path": "x", "content": "x"}

REFUSED: list[tuple[str, list[dict[str, object]], dict[str, object] | bytes, int, str]] = [
    ("no JSON", [], b"{", 400, "InvalidJSON"),
    ("a list", [], b"[]", 400, "InvalidJSON"),
    ("no action", [], {}, 400, "InvalidAction"),
    ("an unknown action", [], {"action": "rename"}, 400, "InvalidAction"),
    ("a number for a text", [], {"action": "read", "path": 7}, 400, "InvalidJSON"),
    ("no mode", [], {"action": "init"}, 400, "InvalidMode"),
    ("an unknown mode", [], {"action": "init", "mode": "copy"}, 400, "InvalidMode"),
    ("init twice", [NEW], NEW, 409, "DraftAlreadyExists"),
    ("nothing to clone", [], {"action": "init", "mode": "clone"}, 404, "LiveNotFound"),
    ("no draft", [], {"action": "list"}, 404, "DraftNotFound"),
    ("no draft to read", [], {"action": "read", "path": "x"}, 404, "DraftNotFound"),
    ("no draft to discard", [], {"action": "discard"}, 404, "DraftNotFound"),
    ("no draft to deploy", [], {"action": "deploy"}, 404, "DraftNotFound"),
    ("no such file", [NEW], {"action": "read", "path": "x"}, 404, "FileNotFound"),
    ("no such directory", [NEW], {"action": "list", "path": "x"}, 404, "FileNotFound"),
    ("nothing to delete", [NEW], {"action": "delete", "path": "x"}, 404, "FileNotFound"),
    ("outside", [NEW], {"action": "read", "path": "../current/.key"}, 400, "InvalidPath"),
    ("the top", [NEW], {"action": "delete", "path": "/"}, 400, "InvalidPath"),
    ("no base64", [NEW], WRITE | {"content": "é", "encoding": "base64"}, 400, "DecodeError"),
    ("no encoding", [NEW], WRITE | {"encoding": "latin-1"}, 400, "DecodeError"),
    ("half a pair", [NEW], WRITE | {"content": "\ud800"}, 400, "DecodeError"),
    ("a bad manifest", [NEW, WRITE | {"path": "formation.afs"}], {"action": "deploy"}, 400, "ParseError"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "body", "status", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_refusals(
    api: Api, before: list[dict[str, object]], body: dict[str, object] | bytes, status: int, code: str
) -> None:
    for step in before:
        assert (await api.post(PATH, json.dumps(step).encode())).status == 200
    answer = await api.post(PATH, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert answer.status == status, answer.body
    said = answer.json
    assert set(said) == {"success", "error", "message", "draft", "live"}
    assert (said["success"], said["error"]) == (False, code)
    assert said["message"]
    assert said["draft"]["exists"] is bool(before)
    assert (await api.audited())[-1]["status"] == status


@pytest.mark.parametrize("formation_id", ["x", "UPPER", "health", "a..b"])
async def test_bad_ids(api: Api, formation_id: str) -> None:
    said = await act(api, "init", 400, route=f"/rpc/formations/{formation_id}/draft/files", mode="new")
    assert said["error"] == "InvalidFormationID"
    assert said["draft"] == {"exists": False}
    assert list(api.facilities.formations_dir.iterdir()) == []


async def test_a_large_file_is_refused(tmp_path: Path) -> None:
    api = make_api(tmp_path, max_json_size=1000)
    await act(api, "init", mode="new")
    said = await act(api, "write", 413, path="x", content="x" * 1000)
    assert said["error"] == "TooLarge"


async def test_a_deploy_is_answered_as_deploys_are(api: Api) -> None:
    api.fleet.results = {"deploy": {"port": 8001, "version": "1.0.0", "status": "running"}}
    await act(api, "init", mode="new")
    answer = await api.post(PATH, b'{"action":"deploy"}')
    assert answer.status == 201
    assert answer.data == {
        "id": "my-bot",
        "formation_id": "my-bot",
        "port": 8001,
        "version": "1.0.0",
        "status": "running",
    }
    answer = await api.post(PATH, b'{"action":"deploy"}', Accept="text/event-stream")
    assert [name for name, _ in answer.events] == ["progress", "complete"]
    line = (await api.audited())[-1]
    assert (line["route"], line["formation"]) == ("/rpc/formations/{formation_id}/draft/files", "my-bot")
    assert line["operation_id"] == api.fleet.operations[-1].id


async def test_the_releases_that_are_kept(live: Api) -> None:
    deploy(live, "1.3.0")
    answer = await live.get("/rpc/formations/my-bot/releases")
    found = answer.data
    assert (found["formation_id"], found["total"]) == ("my-bot", 2)
    assert [(item["number"], item["version"], item["current"]) for item in found["releases"]] == [
        (2, "1.3.0", True),
        (1, "1.2.0", False),
    ]
    assert found["releases"][0]["deployed_at"].endswith("Z")
    assert (await live.get("/rpc/formations/nobody/releases")).status == 404


async def test_the_draft_of_what_is_live_is_an_update(live: Api) -> None:
    live.fleet.results["update"] = {"port": 8001, "version": "1.2.1", "status": "running"}
    await act(live, "init", mode="clone")
    answer = await live.post(PATH, b'{"action":"deploy"}')
    assert (answer.status, answer.data["version"]) == (200, "1.2.1")
    assert [operation.kind for operation in live.fleet.operations] == ["update"]


async def test_drift_is_refused_when_asked_for(live: Api) -> None:
    await act(live, "init", mode="clone")
    deploy(live, "1.3.0")
    said = await act(live, "deploy", 409, require_base=True)
    assert said["error"] == "DraftOutdated"
    assert "1.2.0" in said["message"]
    assert "1.3.0" in said["message"]
    assert said["draft"]["drifted"] is True


async def test_another_operation_is_in_the_way(tmp_path: Path) -> None:
    api = make_api(tmp_path, view("my-bot", operation_id="abc"))
    await act(api, "init", mode="new")
    assert (await act(api, "deploy", 409))["error"] == "DeployConflict"


async def test_nobody_without_a_key(api: Api) -> None:
    assert (await api.call("POST", PATH, data=b'{"action":"init","mode":"new"}', signed=False)).status == 401
    assert list(api.facilities.formations_dir.iterdir()) == []


async def test_the_audit_tells_the_action_and_no_content(api: Api) -> None:
    await act(api, "init", mode="new")
    await act(api, "write", path="very-secret-name", content="very-secret-content")
    lines = await api.audited()
    assert [line["outcome"] for line in lines] == ["draft init", "draft write"]
    assert "very-secret" not in json.dumps(lines)
