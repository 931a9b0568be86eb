"""`upgrade --restart` of a real server: a newer release takes over, a bad one is taken back."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

import muxi as package
from muxi.registry.lock import holder
from tests.integration.outside import configure, deployed, is_gone, muxi, muxi_begun, until
from tests.live import ROOT, LiveServer, running
from tests.program import BINARY, muxi_command
from tests.upgrade.releases import ReleaseServer, releasing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows can't replace a process's program")
OLD, NEW = "1.20260101.0", package.__version__ if BINARY else "1.20261125.3"
OLD_SERVES = NEW if BINARY else OLD
REFUSES = "if '--check' in sys.argv: sys.exit('it can not start')"
HANGS = "if 'start' in sys.argv and '--check' not in sys.argv: import time; time.sleep(3600)"
DIES = "if 'start' in sys.argv and '--check' not in sys.argv: sys.exit(3)"


def program(version: str, fault: str = "") -> bytes:
    """Make a program of one file: this server, which says that it is another version.

    A binary can't be made to: it is put behind a file that says so for it, and is of the new version.
    """
    if BINARY:
        return f"""#!{sys.executable}
import os, sys
if sys.argv[1:] == ["version", "--json"]:
    sys.exit(print('{{"version": "{version}"}}'))
{fault}
os.execv({muxi_command()[0]!r}, sys.argv)
""".encode()
    return f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
import muxi
muxi.__version__ = {version!r}
{fault}
from muxi.cli.main import main
main()
""".encode()


@pytest.fixture
def releases() -> Iterator[ReleaseServer]:
    with releasing() as found:
        yield found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    file = tmp_path / "muxi-server"
    file.write_bytes(program(OLD))
    file.chmod(0o755)
    return file


def version(server: LiveServer) -> object:
    return server.rpc("GET", "/rpc/server/status").json()["data"]["server"]["version"]


def test_a_newer_release_serves_and_nobody_notices(
    tmp_path: Path, installed: Path, releases: ReleaseServer
) -> None:
    releases.publish(NEW, program(NEW))
    with running(tmp_path, releases.settings(), program=(str(installed),)) as server:
        deployed(server, "constant")
        before = server.formation("constant")
        assert version(server) == OLD_SERVES
        done = muxi(tmp_path, "upgrade", "--program", str(installed), "--restart")
        assert done.returncode == 0, done.stderr
        assert f"Version {NEW} serves now, generation 2" in done.stdout
        assert version(server) == NEW
        after = server.wait_until("constant", status="running", healthy=True)
        assert (after["pid"], after["restart_count"]) == (before["pid"], 0)
        assert installed.read_bytes() == program(NEW)
        assert server.terminate() == 0


def test_one_that_can_not_start_is_taken_back_and_the_old_one_serves_on(
    tmp_path: Path, installed: Path, releases: ReleaseServer
) -> None:
    releases.publish(NEW, program(NEW, REFUSES))
    with running(tmp_path, releases.settings(), program=(str(installed),)) as server:
        deployed(server, "constant")
        pid = server.formation("constant")["pid"]
        done = muxi(tmp_path, "upgrade", "--program", str(installed), "--restart")
        assert done.returncode == 1
        assert f"Version {NEW} did not become healthy, and {OLD} is back in its place." in done.stderr
        assert f"Version {OLD} serves on." in done.stderr
        assert server.rpc("GET", "/rpc/server/status").json()["data"]["server"]["generation"] == 1
        assert installed.read_bytes() == program(OLD)
        assert version(server) == OLD_SERVES
        assert server.formation("constant")["pid"] == pid
        assert server.terminate() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="nowhere else is it known how a server was started")
@pytest.mark.parametrize(("fault", "status"), [(DIES, 3), (HANGS, -signal.SIGALRM)])
def test_one_that_dies_or_hangs_is_taken_back_and_formations_live_on(
    tmp_path: Path, installed: Path, releases: ReleaseServer, fault: str, status: int
) -> None:
    releases.publish(NEW, program(NEW, fault))
    settings = {"server": {"takeover_timeout": "3s"}, **yaml.safe_load(releases.settings())}
    configure(tmp_path, settings)
    with running(tmp_path, program=(str(installed),)) as server:
        deployed(server, "constant")
        pid = server.formation("constant")["pid"]
        done = muxi(tmp_path, "upgrade", "--program", str(installed), "--restart")
        assert done.returncode == 1
        assert f"Version {NEW} did not become healthy, and {OLD} is back in its place." in done.stderr
        assert installed.read_bytes() == program(OLD)
        assert server.process.wait(60) == status
        successor = holder(server.data)
        assert successor is not None
        try:
            assert (
                f"Version {OLD_SERVES} serves again (pid {successor}); formations have run on." in done.stderr
            )
            server.url = next(str(entry["url"]) for entry in reversed(server.log) if "url" in entry)
            assert version(server) == OLD_SERVES
            assert server.wait_until("constant", status="running")["pid"] == pid
        finally:
            os.kill(successor, signal.SIGTERM)
            until(lambda: holder(server.data) is None, "it has ended")
        assert is_gone(int(str(pid)))


def test_one_that_dies_under_a_service_manager_is_left_to_that(
    tmp_path: Path, installed: Path, releases: ReleaseServer
) -> None:
    releases.publish(NEW, program(NEW, DIES))
    with running(tmp_path, releases.settings(), program=(str(installed),), INVOCATION_ID="x") as server:
        deployed(server, "constant")
        pid = server.formation("constant")["pid"]
        asked = muxi_begun(tmp_path, "upgrade", "--program", str(installed), "--restart")
        assert server.process.wait(60) == 3
        until(lambda: installed.read_bytes() == program(OLD), "the old program is back")
        with running(tmp_path, program=(str(installed),), INVOCATION_ID="y") as successor:
            _, said = asked.communicate(timeout=60)
            assert asked.returncode == 1
            assert f"Version {OLD_SERVES} serves again (pid {successor.process.pid})" in said
            assert successor.wait_until("constant", status="running")["pid"] == pid
            assert successor.terminate() == 0
