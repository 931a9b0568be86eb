from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from muxi.config.model import Paths, defaults
from muxi.runtime.catalogue import Runtimes
from muxi.runtime.native import Native
from tests.api.harness import GZIP, Api, make_api, view
from tests.live import bundle, tar_gz

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/rpc/formations/validate"


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path, view("there-already"))


def left(api: Api) -> list[str]:
    """Return all that lies on the disk below the formations."""
    base = api.facilities.formations_dir
    return [str(path.relative_to(base)) for path in base.rglob("*") if path.name != ".tmp"]


async def test_a_good_bundle(api: Api) -> None:
    answer = await api.post(PATH, bundle("my-bot", {"conf/one.afs": "id: one"}), **GZIP)
    assert answer.status == 200
    found = answer.data
    assert len(found.pop("content_hash")) == 64
    assert found.pop("size") > 100
    assert found == {
        "valid": True,
        "id": "my-bot",
        "name": "A test",
        "version": "1.0.0",
        "kind": "native",
        "files": 3,
        "action": "deploy",
        "runtime": {"name": "native", "reason": "its manifest names no runtime"},
    }
    assert left(api) == []
    assert list(api.directory.joinpath("tmp").iterdir()) == []
    assert api.fleet.operations == []


async def test_it_says_that_it_would_be_an_update(api: Api) -> None:
    answer = await api.post(PATH, bundle("there-already"), **GZIP)
    assert answer.data["action"] == "update"


async def test_a_bundle_in_json(api: Api, tmp_path: Path) -> None:
    content = bundle("my-bot")
    (tmp_path / "bundle.tar.gz").write_bytes(content)
    for body in (
        {"bundle": base64.b64encode(content).decode()},
        {"bundle_path": str(tmp_path / "bundle.tar.gz"), "id": "my-bot", "version": "1.0.0"},
    ):
        answer = await api.post(PATH, json.dumps(body).encode(), **{"Content-Type": "application/json"})
        assert answer.data["id"] == "my-bot"


SECRET = {"conf/one.yaml": "key: ${{ secrets.OPENAI }}"}

BAD: dict[str, tuple[bytes, dict[str, str], str, str]] = {
    "no archive": (b"hello", {}, "ExtractError", "not packed with gzip"),
    "a bad manifest": (tar_gz({"x/formation.afs": "id: my-bot"}), {}, "ParseError", "neither a `command`"),
    "another id": (bundle("my-bot"), {"X-Formation-ID": "your-bot"}, "IDMismatch", "your-bot"),
    "another version": (bundle("my-bot"), {"X-Formation-Version": "2.0.0"}, "VersionMismatch", "2.0.0"),
    "a missing secret": (bundle("my-bot", SECRET), {}, "SecretsError", "OPENAI (conf/one.yaml)"),
    "a missing program": (bundle("my-bot", command=["no-such-program"]), {}, "SpawnError", "no-such-program"),
    "a secret in env": (
        bundle("my-bot", {"secrets.enc": "", ".key": ""}, env={"A": "${{ secrets.A }}"}),
        {},
        "SecretsError",
        "env refers to secrets in A",
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_bundle(api: Api, case: str) -> None:
    content, headers, code, said = BAD[case]
    answer = await api.post(PATH, content, **GZIP, **headers)
    assert answer.status == 400
    assert answer.json["error_code"] == code
    assert said in answer.json["message"]
    assert answer.json["cure"]
    assert left(api) == []


async def test_what_this_version_can_not_run(api: Api) -> None:
    facilities = api.facilities
    facilities.runtimes = Runtimes((Native(facilities.search_path, facilities.environments),))
    answer = await api.post(PATH, bundle("my-bot", muxi_runtime="latest", description="x"), **GZIP)
    assert (answer.status, answer.json["error_code"]) == (501, "RuntimeUnavailable")


async def test_what_is_no_bundle(api: Api) -> None:
    answer = await api.post(PATH, b"hello", **{"Content-Type": "text/plain"})
    assert (answer.status, answer.json["error_code"]) == (400, "InvalidContentType")
    assert (await api.call("POST", PATH, data=bundle("my-bot"), headers=GZIP, signed=False)).status == 401


async def test_a_disk_that_is_too_full_is_said_with_figures(tmp_path: Path) -> None:
    paths = Paths(*(tmp_path / name for name in ("config", "data", "log", "cache", "config.yaml")))
    config = defaults(paths)
    config = replace(config, formations=replace(config.formations, disk_reserve=1 << 60))
    api = make_api(tmp_path, config=config)
    for path, headers in ((PATH, GZIP), ("/rpc/formations", {**GZIP, "X-Formation-ID": "my-bot"})):
        answer = await api.post(path, bundle("my-bot"), **headers)
        assert (answer.status, answer.json["error_code"]) == (507, "DiskFull")
        assert f"{1 << 60:,} are to stay free" in answer.json["message"]
        assert answer.json["details"]["reserve"] == 1 << 60
        assert "Free some space" in answer.json["cure"]
    assert left(api) == []
