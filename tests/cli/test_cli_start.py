"""`muxi-server start` as a process: what it makes, what it says, how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest

from muxi.config.load import load
from tests.cli.running import SECONDS, command, environment, started

if TYPE_CHECKING:
    from tests.cli.conftest import Installation


def fails(installation: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env=environment(installation),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (["start", "--port", "0", "--host", "127.0.0.1"], signal.SIGTERM),
        (["serve", "--port=0", "--host=127.0.0.1"], signal.SIGINT),
        (["--port", "0", "--log-level", "info", "--host", "127.0.0.1"], signal.SIGTERM),
    ],
)
def test_a_first_start_makes_a_configuration_serves_and_ends_with_0(
    arguments: list[str], number: signal.Signals, installation: Installation
) -> None:
    with started(installation, *arguments) as server:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health", timeout=SECONDS) as answer:
            assert answer.status == 200
        assert server.end(number) == 0
    config = load(installation.paths).config
    assert config.auth.enabled
    assert server.output.count(config.auth.keys[0].secret) == 1
    assert config.server.port == 7890  # 0 was for this run
    assert installation.config_file.stat().st_mode & 0o777 == 0o600


def test_a_later_start_shows_no_secret(installation: Installation) -> None:
    pair = installation.configure(0)
    with started(installation) as server:
        assert server.end(signal.SIGTERM) == 0
    assert pair.secret not in server.output
    assert "███" not in server.output  # no banner in a log


def test_directories_can_be_given(installation: Installation) -> None:
    root = installation.paths.config_dir.parent
    here, there = root / "here", root / "there"
    arguments = [
        "start",
        "--port",
        "0",
        "--host",
        "127.0.0.1",
        "--config-dir",
        str(here),
        "--data-dir",
        str(there),
    ]
    with started(installation, *arguments) as server:
        assert server.end(signal.SIGTERM) == 0
    assert (here / "config.yaml").is_file()
    assert there.is_dir()
    assert not installation.config_file.exists()


def test_a_taken_port_is_exit_1_and_named(installation: Installation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        installation.configure(port)
        done = fails(installation, "start")
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "What to do: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_configuration_is_exit_2_with_every_problem_and_nothing_is_started(
    installation: Installation,
) -> None:
    installation.config_file.parent.mkdir()
    installation.config_file.write_text("server: {port: 99999}\nlogging: {level: loud}\nnonsense: 1\n")
    done = fails(installation, "start")
    assert (done.returncode, done.stdout) == (2, "")
    for key in ("server.port", "logging.level", "nonsense"):
        assert key in done.stderr
    assert not installation.paths.data_dir.exists()


def test_an_unknown_option_is_exit_2(installation: Installation) -> None:
    done = fails(installation, "start", "--daemon")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--daemon" in done.stderr
    assert not installation.config_file.exists()


def test_a_check_says_whether_it_could_start_and_makes_nothing(installation: Installation) -> None:
    installation.configure(0)
    before = set(installation.paths.config_dir.parent.rglob("*"))
    done = fails(installation, "start", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" can start.\n")
    assert set(installation.paths.config_dir.parent.rglob("*")) == before


def test_a_check_without_a_configuration_makes_none(installation: Installation) -> None:
    done = fails(installation, "--check")
    assert done.returncode == 2
    assert "auth" in done.stderr
    assert not installation.config_file.exists()


def test_a_check_finds_a_registry_of_another_version(installation: Installation) -> None:
    installation.configure(0)
    installation.paths.data_dir.mkdir()
    registry = installation.paths.data_dir / "registry.json"
    registry.write_text('{"version": 99}')
    done = fails(installation, "start", "--check")
    assert (done.returncode, done.stdout) == (1, "")
    assert "format 99" in done.stderr
    assert registry.read_text() == '{"version": 99}'


def test_a_registry_of_another_version_is_told_and_left_as_it_is(installation: Installation) -> None:
    installation.configure(0)
    installation.paths.data_dir.mkdir()
    registry = installation.paths.data_dir / "registry.json"
    registry.write_text('{"version": 99}')
    done = fails(installation, "start", "--host", "127.0.0.1")
    assert done.returncode == 1
    assert "Error: registry.json has format 99" in done.stderr
    assert registry.read_text() == '{"version": 99}'


def test_formations_can_be_kept_for_one_run(installation: Installation) -> None:
    installation.configure(0)
    with started(installation, "start", "--keep") as server:
        assert server.end(signal.SIGTERM) == 0
    assert "formations go on without the server" in server.output
