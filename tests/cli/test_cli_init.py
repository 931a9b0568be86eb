from __future__ import annotations

import io
import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from muxi.cli import main, questions
from muxi.config.load import load
from tests.program import muxi_command

if TYPE_CHECKING:
    from tests.cli.conftest import Installation

OLD = """\
# mine
server_id: server-old-01234567
server: {port: 7001, host: 127.0.0.1}
auth:
  keys:
    - {id: muxi_pk_mine, secret: muxi_sk_0123456789abcdef}
"""


def init(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main.run(["init", "--json", *arguments]) == 0
    value = json.loads(capsys.readouterr().out)
    assert isinstance(value, dict)
    return value


def write(installation: Installation, text: str) -> None:
    installation.config_file.parent.mkdir(parents=True, exist_ok=True)
    installation.config_file.write_text(text)


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.fixture
def free_ports(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Let all ports be free but those put into this set."""
    taken: set[int] = set()
    monkeypatch.setattr(questions, "is_free", lambda port: port not in taken)
    return taken


def test_a_first_init_makes_a_private_file_and_tells_the_credentials(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    made = init(capsys, "--port", "7123", "--host", "127.0.0.1", "--name", "My Box")
    assert made["created"] is True
    assert made["port"] == 7123
    assert str(made["server_id"]).startswith("server-my-box-")
    assert installation.config_file.stat().st_mode & 0o777 == 0o600
    assert installation.paths.data_dir.is_dir()
    config = load(installation.paths).config
    assert (config.server.port, config.server.host) == (7123, "127.0.0.1")
    assert config.auth.enabled
    assert (config.auth.keys[0].id, config.auth.keys[0].secret) == (made["key_id"], made["secret"])


def test_a_second_init_keeps_all_and_shows_no_secret(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    first = init(capsys)
    before = installation.config_file.read_bytes()
    second = init(capsys)
    assert installation.config_file.read_bytes() == before
    assert second["created"] is False
    assert second["server_id"] == first["server_id"]
    assert not {"key_id", "secret"} & second.keys()


def test_what_is_given_is_changed_in_place_and_nothing_else(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    write(installation, OLD)
    made = init(capsys, "--port", "7002")
    assert installation.config_file.read_text() == OLD.replace("7001", "7002")
    assert (made["port"], made["created"]) == (7002, False)


def test_a_file_without_a_key_gets_one(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    write(installation, "server:\n  port: 7001\n")
    made = init(capsys)
    config = load(installation.paths).config
    assert config.auth.keys[0].id == made["key_id"]
    assert config.server.port == 7001
    assert installation.config_file.stat().st_mode & 0o777 == 0o600


def test_reset_makes_new_credentials_and_keeps_the_old_file(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    write(installation, OLD)
    made = init(capsys, "--reset")
    assert made["created"] is True
    assert made["server_id"] != "server-old-01234567"
    kept = [path for path in installation.config_file.parent.iterdir() if path != installation.config_file]
    assert [str(path) for path in kept] == [made["replaced"]]
    assert kept[0].read_text() == OLD
    assert kept[0].stat().st_mode & 0o777 == 0o600


def test_a_broken_file_is_not_touched_but_reset_replaces_it(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    write(installation, "server: {port: x, prot: 5}\n")
    assert main.run(["init", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "server.port" in captured.err
    assert "server.prot" in captured.err
    assert "init --reset" in captured.err.splitlines()[-1]
    assert installation.config_file.read_text() == "server: {port: x, prot: 5}\n"
    assert init(capsys, "--reset")["created"] is True


def test_for_people_the_credentials_are_shown_once(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["init", "--yes"]) == 0
    first = capsys.readouterr().out
    pair = load(installation.paths).config.auth.keys[0]
    assert first.count(pair.id) == 1
    assert first.count(pair.secret) == 1
    assert "Welcome to MUXI Server" in first
    assert main.run(["init", "--yes"]) == 0
    again = capsys.readouterr().out
    assert pair.id not in again
    assert pair.secret not in again


def test_questions_name_then_port(
    installation: Installation,
    free_ports: set[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    free_ports |= {7100, 7101}
    answer(monkeypatch, "Berlin Box\nseven\n0\n7100\n\n\n")
    assert main.run(["init"]) == 0
    out = capsys.readouterr().out
    config = load(installation.paths).config
    assert config.server.port == 7102
    assert config.server_id.startswith("server-berlin-box-")
    assert out.count("A port is a number from 1 to 65535.") == 2
    assert "Port 7100 is in use." in out
    assert "Port [7101]: Port 7101 is in use." in out
    assert config.auth.keys[0].secret in out


def test_the_end_of_input_takes_every_default(
    installation: Installation, free_ports: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    free_ports.add(7890)
    answer(monkeypatch, "")
    assert main.run(["init"]) == 0
    assert load(installation.paths).config.server.port == 7891


def test_no_free_port_left_is_said(
    installation: Installation,
    free_ports: set[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    free_ports |= set(range(65000, 65536))
    answer(monkeypatch, "\n65000\n")
    assert main.run(["init"]) == 1
    assert "No free port" in capsys.readouterr().err
    assert not installation.config_file.exists()


@pytest.mark.parametrize(
    ("answers", "override"),
    [("", False), ("\n", False), ("e\n", False), ("nonsense\n", False), ("o\n", True), ("OVERRIDE\n", True)],
)
def test_edit_or_override(
    *,
    answers: str,
    override: bool,
    installation: Installation,
    free_ports: set[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(installation, OLD)
    answer(monkeypatch, answers)
    assert main.run(["init"]) == 0
    config = load(installation.paths).config
    assert (config.auth.keys[0].id != "muxi_pk_mine") is override
    assert config.server.port == 7001
    assert (installation.config_file.read_text() != OLD) is override
    assert "muxi_sk_0123456789abcdef" not in capsys.readouterr().out


def test_editing_changes_name_and_port_and_keeps_the_key(
    installation: Installation, free_ports: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(installation, OLD)
    answer(monkeypatch, "e\nnew\n7005\n")
    assert main.run(["init"]) == 0
    config = load(installation.paths).config
    assert config.server_id.startswith("server-new-")
    assert config.server.port == 7005
    assert config.server.host == "127.0.0.1"
    assert config.auth.keys[0].secret == "muxi_sk_0123456789abcdef"
    assert installation.config_file.read_text().startswith("# mine\n")


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not questions.is_free(port)
    assert questions.is_free(port)


def test_an_unwritable_place_is_told_in_words(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    installation.config_file.parent.write_text("a file where a directory should be")
    assert main.run(["init", "--yes"]) in {1, 2}
    err = capsys.readouterr().err
    assert str(installation.config_file.parent) in err
    assert "Traceback" not in err


def test_as_a_process_with_piped_answers(installation: Installation) -> None:
    with socket.socket() as found:
        found.bind(("", 0))
        port = found.getsockname()[1]
    done = subprocess.run(
        muxi_command("init"),
        input=f"box\n{port}\n",
        env={**os.environ, **installation.environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    config = load(installation.paths).config
    assert config.server.port == port
    assert config.auth.keys[0].secret in done.stdout
