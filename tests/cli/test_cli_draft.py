from __future__ import annotations

import base64
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest

from muxi.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import FakeServer

PATH = "/rpc/formations/my-agent/draft/files"
STATE = {"draft": {"exists": True}, "live": {}}


def answers(server: FakeServer, status: int = 200, **fields: object) -> None:
    body = {"success": status < 400, **fields, **STATE}
    server.answers["POST", PATH] = (status, "application/json", json.dumps(body).encode())


def sent(server: FakeServer) -> list[dict[str, Any]]:
    return [json.loads(seen.body) for seen in server.seen]


def run(*arguments: str) -> int:
    return main.run(["formation", "draft", *arguments])


@pytest.mark.parametrize(
    ("arguments", "body", "said"),
    [
        (("init", "my-agent"), {"action": "init", "mode": "new"}, "my-agent has a draft."),
        (("init", "my-agent", "--clone"), {"action": "init", "mode": "clone"}, "my-agent has a draft."),
        (("delete", "my-agent", "x/y"), {"action": "delete", "path": "x/y"}, "x/y is deleted."),
        (("discard", "my-agent", "--yes"), {"action": "discard"}, "The draft of my-agent is gone."),
    ],
)
def test_simple_actions(
    fake_server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    body: dict[str, str],
    said: str,
) -> None:
    answers(fake_server, data={})
    assert run(*arguments) == 0
    assert sent(fake_server) == [body]
    assert fake_server.seen[0].headers["content-type"] == "application/json"
    assert capsys.readouterr().out == f"{said}\n"
    assert run(*arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out)["draft"] == {"exists": True}


def test_list(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    entries = [{"name": "agents/", "type": "dir"}, {"name": "app.py", "type": "file", "size": 12}]
    answers(fake_server, data={"path": ".", "entries": entries})
    assert run("list", "my-agent") == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME     TYPE  SIZE",
        "agents/  dir   -",
        "app.py   file  12",
    ]
    answers(fake_server, data={"path": "agents", "entries": []})
    assert run("list", "my-agent", "agents") == 0
    assert capsys.readouterr().out == ""
    assert [body["path"] for body in sent(fake_server)] == ["", "agents"]


def test_drift_is_told(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    draft = {"exists": True, "base_version": "1.0.0", "drifted": True}
    body = {"success": True, "data": {"entries": []}, "draft": draft, "live": {"version": "1.1.0"}}
    fake_server.answers["POST", PATH] = (200, "application/json", json.dumps(body).encode())
    assert run("list", "my-agent") == 0
    assert capsys.readouterr().err == "The draft was made of version 1.0.0; deployed is now 1.1.0.\n"


def test_get_prints_or_saves_the_bytes(
    fake_server: FakeServer, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    data = bytes(range(256))
    answers(fake_server, data={"content": base64.b64encode(data).decode(), "encoding": "base64"})
    assert run("get", "my-agent", "image.png", "-o", str(tmp_path / "copy")) == 0
    assert (tmp_path / "copy").read_bytes() == data
    assert sent(fake_server) == [{"action": "read", "path": "image.png", "encoding": "base64"}]
    assert run("get", "my-agent", "image.png") == 0
    assert capfdbinary.readouterr().out == data


def test_put_sends_a_file_or_standard_input(
    fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local").write_bytes(b"\xff\x00")
    answers(fake_server, data={"size": 2, "written": True})
    assert run("put", "my-agent", "remote", str(tmp_path / "local")) == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\x00")))
    assert run("put", "my-agent", "remote") == 0
    body = {"action": "write", "path": "remote", "content": "/wA=", "encoding": "base64"}
    assert sent(fake_server) == [body, body]


@pytest.mark.parametrize(("typed", "written"), [("changed", True), (None, False), ("as it was", False)])
def test_edit(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, typed: str | None, written: bool
) -> None:
    answers(fake_server, data={"content": base64.b64encode(b"as it was").decode()})
    shown: list[object] = []

    def editor(text: str, **more: object) -> str | None:
        shown.append((text, more))
        return typed

    monkeypatch.setattr(click, "edit", editor)
    assert run("edit", "my-agent", "agents/one.afs") == 0
    assert shown == [("as it was", {"extension": ".afs"})]
    assert [body["action"] for body in sent(fake_server)] == ["read", *(["write"] if written else [])]


def test_what_is_no_text_is_not_edited(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    answers(fake_server, data={"content": base64.b64encode(b"\xff").decode()})
    assert run("edit", "my-agent", "x") == 1
    assert "x is not text" in capsys.readouterr().err


def test_deploy_tells_each_stage(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    fake_server.events(
        "POST",
        PATH,
        ("progress", {"stage": "validating", "message": "Deploying new formation from draft..."}),
        ("complete", {"formation_id": "my-agent", "status": "running"}),
    )
    assert run("deploy", "my-agent") == 0
    assert capsys.readouterr().out.splitlines() == [
        "validating: Deploying new formation from draft...",
        "Deployed my-agent: running",
    ]
    assert run("deploy", "my-agent", "--require-base", "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "running"
    assert [body["require_base"] for body in sent(fake_server)] == [False, True]
    assert fake_server.seen[0].headers["accept"] == "text/event-stream"


def test_a_refusal_is_told(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    answers(fake_server, 404, error="DraftNotFound", message="Formation 'my-agent' has no draft.")
    for arguments in (("list",), ("get", "x"), ("deploy",)):
        assert run(arguments[0], "my-agent", *arguments[1:]) == 1
        assert "Error: Formation 'my-agent' has no draft." in capsys.readouterr().err
