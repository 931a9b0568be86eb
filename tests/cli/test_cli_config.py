from __future__ import annotations

import json
from typing import TYPE_CHECKING

from muxi.cli import main

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import Installation

BROKEN = "server:\n  port: 99999\n  prot: 1\nauth:\n  enabled: maybe\n"


def broken(installation: Installation) -> None:
    installation.config_file.parent.mkdir()
    installation.config_file.write_text(BROKEN)


def test_show_masks_the_secret(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    pair = installation.configure(7900)
    assert main.run(["config", "show"]) == 0
    out = capsys.readouterr().out
    for expected in (
        "Server\n",
        "Authentication\n",
        "Formations\n",
        "7900",
        pair.id[:12],
        str(installation.config_file),
    ):
        assert expected in out
    assert pair.secret not in out
    assert pair.id not in out


def test_show_as_json_masks_it_too(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    pair = installation.configure(7900)
    assert main.run(["config", "show", "--json"]) == 0
    out = capsys.readouterr().out
    value = json.loads(out)
    assert value["server"]["port"] == 7900
    assert value["config_file_exists"] is True
    assert pair.secret not in out


def test_show_without_a_file_says_so(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["config", "show"]) == 0
    assert "not there; these are the defaults" in capsys.readouterr().out


def test_the_environment_goes_over_the_file(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installation.configure(7900)
    monkeypatch.setenv("MUXI_PORT", "7999")
    assert main.run(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["server"]["port"] == 7999


def test_a_valid_one_is_valid(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    installation.configure(7900)
    assert main.run(["config", "validate"]) == 0
    assert capsys.readouterr().out == f"{installation.config_file} is valid.\n"
    assert main.run(["config", "validate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["valid"] is True


def test_every_problem_is_listed_and_the_status_is_2(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(installation)
    assert main.run(["config", "validate"]) == 2
    err = capsys.readouterr().err
    for key in ("config.yaml:2: server.port", "config.yaml:3: server.prot", "config.yaml:5: auth.enabled"):
        assert key in err
    assert main.run(["config", "validate", "--json"]) == 2
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 3


def test_any_command_that_needs_it_refuses_a_broken_one(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(installation)
    for argv in (["config", "show"], ["status"], ["formation", "list"]):
        assert main.run(argv) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "server.port" in captured.err


def test_a_server_that_nobody_may_manage_is_not_valid(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    installation.config_file.parent.mkdir()
    installation.config_file.write_text("server: {port: 7900}\n")
    assert main.run(["config", "validate"]) == 2
    assert "muxi-server init" in capsys.readouterr().err


def test_notes_go_to_standard_error(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    installation.configure(7900)
    installation.config_file.chmod(0o644)
    assert main.run(["config", "validate"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("Note: ")
    assert "chmod 600" in captured.err
