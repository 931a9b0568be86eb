"""The client commands against a true server, with the example agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.cli import main
from tests.cli.running import SECONDS, command, environment, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Installation

AGENT = str(Path(__file__).parents[2] / "examples" / "hello-agent")


@pytest.fixture
def server(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a server on a port of the system's choice, which the commands find by MUXI_PORT."""
    installation.configure(0)
    with started(installation) as running:
        monkeypatch.setenv("MUXI_PORT", str(running.port))
        yield
        assert running.end(signal.SIGTERM) == 0


def done(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    code = main.run(argv)
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def as_json(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    value = json.loads(done(capsys, *argv, "--json"))
    assert isinstance(value, dict)
    return value


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main.run(argv) == 1
    return capsys.readouterr().err


@pytest.mark.usefixtures("server")
def test_a_formation_s_whole_life(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Deployed hello-agent: running" in done(capsys, "formation", "deploy", AGENT)
    assert "already exists" in refused(capsys, "formation", "deploy", AGENT)
    assert done(capsys, "formation", "list").splitlines()[1].split()[:3] == [
        "hello-agent",
        "running",
        "1.0.0",
    ]
    assert "Hello Agent" in done(capsys, "formation", "get", "hello-agent")
    assert "hello-agent listens on" in done(capsys, "formation", "logs", "hello-agent")
    assert "Running: 1" in done(capsys, "status")
    assert done(capsys, "formation", "stop", "hello-agent") == "hello-agent is stopped.\n"
    assert "already stopped" in refused(capsys, "formation", "stop", "hello-agent")
    assert as_json(capsys, "formation", "get", "hello-agent")["status"] == "stopped"
    assert done(capsys, "formation", "start", "hello-agent").endswith("hello-agent is started.\n")
    assert "already running" in refused(capsys, "formation", "start", "hello-agent")
    first = as_json(capsys, "formation", "get", "hello-agent")["pid"]
    assert as_json(capsys, "formation", "restart", "hello-agent")["pid"] != first
    assert done(capsys, "formation", "delete", "--yes", "hello-agent") == "hello-agent is deleted.\n"
    assert as_json(capsys, "formation", "list")["formations"] == []
    assert "not found" in refused(capsys, "formation", "get", "hello-agent")


@pytest.mark.usefixtures("server")
def test_a_formation_that_dies_at_its_start_is_told_with_its_last_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "dying"
    directory.mkdir()
    (directory / "formation.afs").write_text('schema: "1.0.0"\nid: dying\n')
    (directory / "app.py").write_text("import sys; print('no model'); sys.exit(3)\n")
    err = refused(capsys, "formation", "deploy", str(directory))
    assert "exit status 3" in err.splitlines()[0]
    assert any(line.startswith("  | ") and "no model" in line for line in err.splitlines())
    assert as_json(capsys, "formation", "list")["formations"] == []


@pytest.mark.usefixtures("server")
def test_following_a_log_shows_what_is_printed_from_then_on(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    done(capsys, "formation", "deploy", AGENT)
    env = {**environment(installation), "MUXI_PORT": os.environ["MUXI_PORT"]}
    arguments = command("formation", "logs", "hello-agent", "-f")
    with subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert "hello-agent listens on" in follower.stdout.readline()
        done(capsys, "formation", "stop", "hello-agent")
        done(capsys, "formation", "start", "hello-agent")
        assert any("hello-agent listens on" in line for line in follower.stdout)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(SECONDS) == 130


@pytest.mark.usefixtures("server")
def test_a_foreign_key_is_refused(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = installation.configure(0)  # the file changes, the running server's key does not
    err = refused(capsys, "formation", "list")
    assert err.startswith("Error: ")
    assert pair.secret not in err
