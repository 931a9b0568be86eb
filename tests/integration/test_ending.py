"""How the server ends: in which order, with which exit status, and what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.integration.outside import RECORDER, configure, deployed, processes, until
from tests.live import DEADLINE, bundle, environment, running, write_config
from tests.program import needs_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live import LiveServer

COMMAND = ["python3", "app.py"]
STUBBORN = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.argv[0] = "app.py"
exec(open("recorder.py").read())
"""


def events(server: LiveServer) -> list[str]:
    return [str(entry.get("event")) for entry in server.log]


def deploy_stubborn(server: LiveServer, marker: str, **fields: object) -> None:
    """Deploy a formation that ignores SIGTERM."""
    files: dict[str, str | bytes] = {"app.py": STUBBORN, "recorder.py": RECORDER}
    packed = bundle("stubborn", files, command=[*COMMAND, marker], **fields)
    assert server.deploy("stubborn", packed).status_code == 201


def test_a_second_signal_means_now(tmp_path: Path, marker: str) -> None:
    with running(tmp_path) as server:
        deploy_stubborn(server, marker, stop_timeout=300)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "shutting down" in events(server), "it ends")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 128 + signal.SIGINT
    assert processes(marker) == set()


def test_what_is_not_done_in_the_budget_is_cut_and_told(tmp_path: Path, marker: str) -> None:
    configure(tmp_path, {"server": {"shutdown_timeout": "3s"}})
    with running(tmp_path) as server:
        deploy_stubborn(server, marker, stop_timeout=300)
        assert server.terminate() == 1
        told = next(e for e in server.log if e.get("event") == "formations not ended in time, now killed")
        assert told["formations"] == ["stubborn"]
    assert processes(marker) == set()


def test_it_says_what_it_waits_for(tmp_path: Path, marker: str) -> None:
    configure(tmp_path, {"server": {"shutdown_timeout": "60s"}})
    with running(tmp_path) as server:
        deploy_stubborn(server, marker, stop_timeout=300)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "still ending" in events(server), "it tells")
        told = next(e for e in server.log if e.get("event") == "still ending")
        assert told["formations"] == ["stubborn"]
        assert told["connections"] == 0
        for pid in processes(marker):
            os.kill(pid, signal.SIGKILL)
        assert server.process.wait(60) == 0


def test_reload_and_upgrade_are_refused_while_it_ends(tmp_path: Path, marker: str) -> None:
    with running(tmp_path) as server:
        deploy_stubborn(server, marker, stop_timeout=300)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "shutting down" in events(server), "it ends")
        for number in (signal.SIGHUP, signal.SIGUSR2):
            server.process.send_signal(number)
        until(lambda: events(server).count("signal ignored: the server ends") == 2, "both are refused")
        for pid in processes(marker):
            os.kill(pid, signal.SIGKILL)
        assert server.process.wait(60) == 0


def test_a_registry_that_can_t_be_saved_shows_in_the_exit_status(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        deployed(server, "kept")
        registry = server.data / "registry.json"
        registry.unlink()
        registry.mkdir()  # nothing can be renamed over it
        assert server.terminate() == 1
        assert "registry not saved" in events(server)
        registry.rmdir()


def test_formations_may_be_kept(tmp_path: Path, marker: str) -> None:
    configure(tmp_path, {"server": {"on_stop": "keep"}})
    with running(tmp_path) as server:
        deployed(server, "kept", command=[*COMMAND, marker])
        pid = server.formation("kept")["pid"]
        assert server.terminate() == 0
        assert processes(marker) == {pid}
    with running(tmp_path) as server:
        found = server.wait_until("kept", status="running", healthy=True)
        assert (found["pid"], found["restart_count"]) == (pid, 0)
        assert server.get("/api/kept/x").json() == {"pid": pid}


SLOW_DISK = """
import os, sys, time
import muxi.registry.store as store
real = store.load
def load(path):
    print("loading", file=sys.stderr, flush=True)
    while not os.path.exists({gate!r}):
        time.sleep(0.01)
    return real(path)
store.load = load
from muxi.cli.main import main
main()
"""


@needs_source
def test_signals_during_the_start(tmp_path: Path) -> None:
    """A stop waits for the start, which reload and upgrade do not keep from ending."""
    with slow_start(tmp_path) as (process, log):
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGTERM):
            process.send_signal(number)
        until(lambda: "shutting down" in log.read_text(), "the stop has come")
        (tmp_path / "gate").touch()
        assert process.wait(DEADLINE) == 0
        assert "Traceback" not in log.read_text()


@needs_source
def test_a_second_signal_during_the_start_means_now(tmp_path: Path) -> None:
    with slow_start(tmp_path) as (process, log):
        process.send_signal(signal.SIGTERM)
        until(lambda: "shutting down" in log.read_text(), "the stop has come")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 128 + signal.SIGTERM
        assert "Traceback" not in log.read_text()


@contextmanager
def slow_start(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start a server that reads its registry for as long as the file `gate` is not there."""
    write_config(directory)
    path = directory / "log.txt"
    command = [sys.executable, "-c", SLOW_DISK.format(gate=str(directory / "gate")), "start"]
    with path.open("wb") as log:
        process = subprocess.Popen(command, env=environment(directory), stdout=log, stderr=log)
    try:
        until(lambda: "loading" in path.read_text(), "it starts")
        yield process, path
    finally:
        process.kill()
        process.wait()
