from __future__ import annotations

import io
import json
import socket
import tarfile
from typing import TYPE_CHECKING

import pytest

from muxi.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import FakeServer, Installation

PATH = "/rpc/formations/validate"
COMMAND = ["formation", "validate"]


@pytest.fixture
def formation(tmp_path: Path) -> Path:
    directory = tmp_path / "agent"
    (directory / "conf").mkdir(parents=True)
    (directory / "formation.afs").write_text('id: my-agent\nversion: "1.2.0"\n')
    (directory / "app.py").write_text("print('hello')\n")
    (directory / "conf" / "one.yaml").write_text("a: 1\n")
    return directory


def test_without_a_server(
    formation: Path, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([*COMMAND, str(formation)]) == 0
    out, err = capsys.readouterr()
    assert out == "my-agent 1.2.0 is valid: 4 files and directories, 50 bytes\n"
    assert err == "Note: Checked on this machine only: no server is configured.\n"
    assert main.run([*COMMAND, str(formation), "--offline"]) == 0
    assert capsys.readouterr().err == ""
    assert not installation.config_file.exists()


def test_with_a_server_that_does_not_run(
    formation: Path, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        installation.configure(taken.getsockname()[1])
        assert main.run([*COMMAND, str(formation)]) == 0
    assert "Checked on this machine only: No MUXI server answers" in capsys.readouterr().err


def test_with_a_server(formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    fake_server.json("POST", PATH, {"valid": True, "id": "my-agent", "action": "update"})
    assert main.run([*COMMAND, str(formation)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "On the server it would be updated."
    (asked,) = fake_server.seen
    assert (asked.method, asked.path, asked.headers["content-type"]) == ("POST", PATH, "application/gzip")
    with tarfile.open(fileobj=io.BytesIO(asked.body)) as tar:
        assert "my-agent/conf/one.yaml" in tar.getnames()
    assert main.run([*COMMAND, str(formation), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["valid"], found["server"], found["action"], found["warnings"]) == (True, True, "update", [])


def test_what_only_the_server_knows(
    formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_server.refuse("POST", PATH, 400, "The program 'node' was not found.", error_code="SpawnError")
    assert main.run([*COMMAND, str(formation)]) == 1
    assert "Error: The program 'node' was not found." in capsys.readouterr().err


BAD = {
    "manifest": ("formation.afs", "id: X", "ParseError", "formation.afs can't be used"),
    "secret": ("conf/one.yaml", "a: ${{ secrets.KEY }}", "SecretsError", "KEY (conf/one.yaml)"),
}


def test_a_runtime_that_is_not_here_may_be_on_the_server(
    formation: Path, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    (formation / "formation.afs").write_text("id: my-agent\ndescription: x\nmuxi_runtime: latest")
    assert main.run([*COMMAND, str(formation), "--offline", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is True
    assert "needs the MUXI runtime" in found["warnings"][0]


def test_it_says_what_it_would_run_on(
    formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime = {"name": "muxi-python", "reason": "the first that is present here"}
    fake_server.json("POST", PATH, {"valid": True, "action": "deploy", "runtime": runtime})
    assert main.run([*COMMAND, str(formation)]) == 0
    assert "It would run on muxi-python: the first that is present here." in capsys.readouterr().out


@pytest.mark.parametrize("case", BAD)
def test_a_bad_directory(
    formation: Path, installation: Installation, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    name, content, code, said = BAD[case]
    (formation / name).write_text(content)
    assert main.run([*COMMAND, str(formation), "--offline"]) == 1
    assert said in capsys.readouterr().err
    assert main.run([*COMMAND, str(formation), "--offline", "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["valid"], found["error"]) == (False, code)
    assert said in found["message"]
    assert err == ""


def test_links_are_refused_as_a_deploy_does(
    formation: Path, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    (formation / "link").symlink_to("app.py")
    assert main.run([*COMMAND, str(formation), "--offline"]) == 1
    assert "is a symbolic link" in capsys.readouterr().err


def test_a_program_of_another_machine_is_only_noted(
    formation: Path, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    (formation / "formation.afs").write_text("id: my-agent\ncommand: [no-such-program]\n")
    assert main.run([*COMMAND, str(formation), "--offline"]) == 0
    assert "Note: The program 'no-such-program' was not found" in capsys.readouterr().err
