from __future__ import annotations

import getpass
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.cli import main, service
from muxi.errors import OperatorError
from muxi.service.definition import Condition, Definition

if TYPE_CHECKING:
    from tests.cli.conftest import Installation

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="users and sudo are a POSIX system's")


class FakeManager:
    """Takes what it is given; `refusal` is why it does not."""

    name = "fake"

    def __init__(self) -> None:
        self.file = Path("/services/muxi")
        self.scopes: list[bool] = []
        self.installed: list[Definition] = []
        self.refusal: OperatorError | None = None

    def install(self, definition: Definition) -> list[str]:
        if self.refusal is not None:
            raise self.refusal
        self.installed.append(definition)
        return ["a remark"]

    def uninstall(self) -> bool:
        return bool(self.installed) and bool(self.installed.pop())

    def condition(self) -> Condition:
        there = bool(self.installed)
        return Condition(there, there, there, self.file, "as told")


@pytest.fixture
def manager(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> FakeManager:
    fake = FakeManager()

    def manager_of(*, user: bool) -> FakeManager:
        fake.scopes.append(user)
        return fake

    monkeypatch.setattr(service, "manager_of", manager_of)
    monkeypatch.delenv("SUDO_USER", raising=False)
    installation.configure(7123)
    return fake


def test_an_install_describes_the_server_as_it_is_configured(
    manager: FakeManager, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    text = installation.config_file.read_text()
    installation.config_file.write_text(text.replace("server:\n", "server:\n  shutdown_timeout: 20.5s\n"))
    assert main.run(["service", "install", "--user"]) == 0
    [made] = manager.installed
    assert manager.scopes == [True]
    assert made.user is None
    assert made.stop_seconds == 21 + 30
    assert Path(made.command[0]).is_absolute()
    assert made.environment == {
        name: installation.environment[name] for name in ("MUXI_CONFIG_DIR", "MUXI_DATA_DIR", "MUXI_LOG_DIR")
    }
    assert "a remark" in capsys.readouterr().out


def test_the_machines_service_runs_as_who_asks_or_as_said(
    manager: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main.run(["service", "install", "--system"]) == 0
    monkeypatch.setenv("SUDO_USER", "daemon")
    assert main.run(["service", "install", "--system"]) == 0
    assert main.run(["service", "install", "--system", "--run-as", "nobody"]) == 0
    assert [made.user for made in manager.installed] == [getpass.getuser(), "daemon", "nobody"]


def test_nobody_is_nobody(manager: FakeManager, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["service", "install", "--system", "--run-as", "no-such-user-here"]) == 1
    assert main.run(["service", "install", "--user", "--run-as", "daemon"]) == 2
    assert manager.installed == []
    assert "no user no-such-user-here" in capsys.readouterr().err


def test_status_tells_and_its_exit_status_too(
    manager: FakeManager, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["service", "status"]) == 1
    assert main.run(["service", "uninstall"]) == 0
    assert "no such service" in capsys.readouterr().out
    assert main.run(["service", "install", "--user"]) == 0
    capsys.readouterr()
    assert main.run(["service", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "installed": True,
        "running": True,
        "starts_with_machine": True,
        "file": "/services/muxi",
        "detail": "as told",
        "manager": "fake",
    }


@pytest.mark.parametrize(("answer", "wanted"), [("y", True), ("YES", True), ("n", False), ("", False)])
def test_init_offers_it(
    answer: str,
    wanted: bool,
    manager: FakeManager,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(service, "offered", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"e\nbox\n7123\n{answer}\n"))
    assert main.run(["init"]) == 0
    assert bool(manager.installed) is wanted
    assert "Install it as a service" in capsys.readouterr().out


def test_init_succeeds_where_a_service_can_not_be_had(
    manager: FakeManager, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manager.refusal = OperatorError("It does not want to.", cure="Ask nicely.")
    monkeypatch.setattr(service, "offered", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO("e\nbox\n7123\ny\n"))
    assert main.run(["init"]) == 0
    assert "Error: It does not want to.\nWhat to do: Ask nicely." in capsys.readouterr().out


def test_a_program_run_as_a_module_is_run_so_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/muxi/__main__.py", "service"])
    assert service.command_line() == (sys.executable, "-P", "-m", "muxi")
    monkeypatch.setattr(sys, "argv", ["/opt/bin/muxi-server", "service"])
    assert service.command_line() == ("/opt/bin/muxi-server",)
