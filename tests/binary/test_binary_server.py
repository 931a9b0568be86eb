"""The binary as a server: one process, no litter, no trace of itself in what it starts."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import trustme

from muxi.process import procfs
from tests.integration.outside import configure, deployed, muxi, processes, until
from tests.live import APP, bundle, free_ports, running
from tests.program import BINARY, needs_binary

pytestmark = [needs_binary, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

PLACE = '\n        elif self.path == "/pid":'
WHICH = f"""
        elif self.path == "/which":
            self.answer(json.dumps([sys.executable, os.readlink("/proc/self/exe")]).encode()){PLACE}"""


def files_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_it_is_one_process_and_leaves_nothing_in_the_temporary_directory(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with running(tmp_path, TMPDIR=str(temporary)) as server:
        assert procfs.children(server.process.pid) == []
        assert server.get("/ping").text == "pong"
        assert files_below(temporary) == set()
        server.process.kill()
        assert server.process.wait(60) == -signal.SIGKILL
    assert files_below(temporary) == set()


def test_a_killed_server_leaves_no_second_one_and_the_next_adopts(tmp_path: Path, marker: str) -> None:
    with running(tmp_path) as server:
        deployed(server, "kept", command=["python3", "app.py", marker])
        pid = server.formation("kept")["pid"]
        server.process.kill()
        server.process.wait(60)
        assert processes(marker) == {pid}
    with running(tmp_path) as server:
        server.wait_until("kept", status="running", healthy=True)
        assert server.formation("kept")["pid"] == pid
        assert server.formation("kept")["restart_count"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(tmp_path: Path, marker: str, number: signal.Signals) -> None:
    with running(tmp_path) as server:
        deployed(server, "ended", command=["python3", "app.py", marker])
        server.process.send_signal(number)
        assert server.process.wait(60) == 0
    told = [entry["signal"] for entry in server.log if entry.get("event") == "shutting down"]
    assert told == [number.name]
    assert processes(marker) == set()


def test_formations_get_nothing_of_the_binary_s_own(tmp_path: Path) -> None:
    with running(tmp_path, NUITKA_ONEFILE_PARENT="1", LD_LIBRARY_PATH="/nowhere") as server:
        deployed(server, "clean")
        found = server.get("/api/clean/env").json()
    assert [name for name in found if name.startswith(("NUITKA", "PYTHON", "LD_"))] == ["PYTHONUNBUFFERED"]


def test_a_formation_without_a_command_runs_on_a_real_python(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        app = APP.replace(PLACE, WHICH)
        assert server.deploy("plain", bundle("plain", {"app.py": app})).status_code == 201
        executable, target = server.get("/api/plain/which").json()
    assert os.access(executable, os.X_OK)
    assert Path(target).name.startswith("python3")


def test_a_new_file_in_the_old_one_s_place_takes_over(tmp_path: Path, marker: str) -> None:
    """As an installer does it: another file is moved there while the old one runs."""
    program = tmp_path / "muxi-server"
    shutil.copy(BINARY, program)
    with running(tmp_path, program=[str(program)]) as server:
        deployed(server, "steady", command=["python3", "app.py", marker])
        pid = server.formation("steady")["pid"]
        new = tmp_path / "new"
        shutil.copy(BINARY, new)
        new.replace(program)
        running_file = Path(f"/proc/{server.process.pid}/exe")
        assert not running_file.samefile(program)
        done = muxi(tmp_path, "upgrade", "--restart", "--no-download")
        assert done.returncode == 0, done.stderr
        assert running_file.samefile(program)
        assert server.formation("steady")["pid"] == pid
        assert processes(marker) == {pid}


def test_workers_are_the_binary_as_well(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        path = tmp_path / "config" / "config.yaml"
        path.write_text(path.read_text().replace("port: 0}", "port: 0, workers: 2}"))
        assert server.terminate() == 0
    with running(tmp_path) as server:
        until(lambda: len(procfs.children(server.process.pid)) == 1, "there is a worker")
        (worker,) = procfs.children(server.process.pid)
        assert Path(f"/proc/{worker}/exe").samefile(BINARY)
        assert server.terminate() == 0
        assert not Path(f"/proc/{worker}").exists()


def test_its_home_may_be_read_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    with running(tmp_path, HOME=str(home), XDG_CACHE_HOME=str(home / "cache")) as server:
        assert server.get("/ping").text == "pong"
        deployed(server, "any")
    assert files_below(home) == set()


def test_it_serves_and_asks_by_https(tmp_path: Path) -> None:
    """The OpenSSL that is inside, as a server and as a client."""
    pair = trustme.CA().issue_cert("localhost", "127.0.0.1")
    path = tmp_path / "both.pem"
    path.write_bytes(pair.private_key_and_cert_chain_pem.bytes())
    port, _ = free_ports()
    configure(tmp_path, {"server": {"port": port, "tls": {"cert": str(path)}}})
    with running(tmp_path) as server:
        assert server.url.startswith("https://")
        done = muxi(tmp_path, "status")
        assert done.returncode == 0, done.stderr
