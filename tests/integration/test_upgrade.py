"""Another program takes the server's place, under load, and nobody is refused."""

from __future__ import annotations

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from muxi.registry.lock import holder
from tests.integration.outside import deployed, muxi, processes, until
from tests.live import running
from tests.program import needs_source

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live import LiveServer

COMMAND = ["python3", "app.py"]


def server_status(server: LiveServer) -> dict[str, Any]:
    found: dict[str, Any] = server.rpc("GET", "/rpc/server/status").json()["data"]["server"]
    return found


def upgrade(server: LiveServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return muxi(server.directory, "upgrade", "--restart", "--no-download", *arguments)


def events(server: LiveServer) -> list[str]:
    return [str(entry.get("event")) for entry in server.log]


class Load:
    """Callers that never pause, and all that went wrong for them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.over = threading.Event()
        self.failed: list[str] = []
        self.served = 0
        self.pids: set[int] = set()

    def call(self, number: int) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not self.over.is_set():
                try:
                    if number % 2:
                        answer = client.get(f"{self.url}/api/constant/x")
                        self.pids.add(answer.json().get("pid"))
                    else:
                        answer = client.post(f"{self.url}/api/constant/x", content=b"x" * 1000)
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
                else:
                    self.served += 1
                    if answer.status_code != 200:
                        self.failed.append(answer.text)


@contextmanager
def load(url: str, callers: int = 6) -> Iterator[Load]:
    work = Load(url)
    with ThreadPoolExecutor(callers) as pool:
        running = [pool.submit(work.call, number) for number in range(callers)]
        try:
            yield work
        finally:
            work.over.set()
        for caller in running:
            caller.result()


def test_nobody_notices_an_upgrade(tmp_path: Path, marker: str) -> None:
    with running(tmp_path) as server:
        deployed(server, "constant", command=[*COMMAND, marker])
        before = server_status(server)
        formation = server.formation("constant")
        with load(server.url) as work:
            for generation in (2, 3):
                served = work.served
                until(lambda served=served: work.served > served + 50, "requests flow")  # type: ignore[misc]
                done = upgrade(server)
                assert done.returncode == 0, done.stderr
                assert f"generation {generation} " in done.stdout
            served = work.served
            until(lambda: work.served > served + 50, "requests flow")
        assert work.failed == []
        after = server_status(server)
        assert (before["generation"], after["generation"]) == (1, 3)
        assert after["pid"] == before["pid"] == server.process.pid
        assert after["first_started_at"] == before["started_at"] < after["started_at"]
        assert after["last_upgrade"]["ok"] is True
        assert holder(server.data) == server.process.pid
        server.wait_until("constant", status="running", healthy=True)
        assert len(processes(marker)) == 1
        assert work.pids == {formation["pid"]}
        assert server.formation("constant")["restart_count"] == 0
        assert server.terminate() == 0
    assert processes(marker) == set()


def test_a_stream_gets_its_time_while_others_are_served(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        config = tmp_path / "config" / "config.yaml"
        config.write_text(config.read_text().replace("port: 0}", "port: 0, upgrade_timeout: 1h}"))
        assert muxi(tmp_path, "config", "reload").returncode == 0
        deployed(server, "constant")
        with ThreadPoolExecutor() as pool:
            with server.client.stream("GET", f"{server.url}/api/constant/stream") as answer:
                pieces = answer.iter_raw()  # closes the stream when it is let go
                assert next(pieces) == b"data: 1\n\n"
                asked = pool.submit(upgrade, server)
                until(lambda: "upgrade: the new program can take over" in events(server), "it is settling")
                assert all(server.get("/api/constant/x").status_code == 200 for _ in range(100))
                assert not asked.done()
            assert asked.result().returncode == 0
        assert "upgrade: some requests did not end in time" not in events(server)


def test_a_stream_beyond_the_budget_is_ended(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        config = tmp_path / "config" / "config.yaml"
        config.write_text(config.read_text().replace("port: 0}", "port: 0, upgrade_timeout: 500ms}"))
        assert muxi(tmp_path, "config", "reload").returncode == 0
        deployed(server, "constant")
        with server.client.stream("GET", f"{server.url}/api/constant/stream") as answer:
            pieces = answer.iter_raw()
            assert next(pieces) == b"data: 1\n\n"
            assert upgrade(server).returncode == 0
            with pytest.raises(httpx.HTTPError):
                next(pieces)
        assert "upgrade: some requests did not end in time" in events(server)
        assert server_status(server)["generation"] == 2


def test_a_wrong_configuration_keeps_the_program_that_runs(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        config = tmp_path / "config" / "config.yaml"
        good = config.read_text()
        config.write_text(good.replace("restart_delay:", "restart_dleay:"))
        done = upgrade(server, "--json")
        assert done.returncode == 1
        answer = json.loads(done.stdout)
        assert answer["ok"] is False
        assert any("restart_dleay" in problem for problem in answer["problems"])
        assert server.get("/ping").text == "pong"
        assert server_status(server)["generation"] == 1
        assert server_status(server)["last_upgrade"]["ok"] is False
        config.write_text(good)
        assert upgrade(server).returncode == 0
        assert server_status(server)["generation"] == 2


def test_a_registry_that_the_new_program_could_not_read_keeps_the_old_one(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        deployed(server, "constant")
        path = server.data / "registry.json"
        good = path.read_text()
        path.write_text(good.replace('"version": 2', '"version": 3'))
        done = upgrade(server)
        assert done.returncode == 1
        assert "format 3" in done.stderr
        path.write_text(good)
        assert server.get("/api/constant/x").status_code == 200


def test_sigterm_during_an_upgrade_ends_the_server(tmp_path: Path, marker: str) -> None:
    with running(tmp_path) as server:
        deployed(server, "constant", command=[*COMMAND, marker])
        with server.client.stream("GET", f"{server.url}/api/constant/stream") as answer:
            pieces = answer.iter_raw()  # closes the stream when it is let go
            assert next(pieces) == b"data: 1\n\n"
            server.process.send_signal(signal.SIGUSR2)
            until(lambda: "upgrade: the new program can take over" in events(server), "it is settling")
            server.process.send_signal(signal.SIGHUP)
            server.process.send_signal(signal.SIGUSR2)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: "shutting down" in events(server), "it ends")
        assert server.process.wait(60) == 0
        assert events(server).count("listening") == 1
    assert processes(marker) == set()


def test_sigterm_right_after_the_switch_ends_the_new_program(tmp_path: Path, marker: str) -> None:
    """No signal is lost on the way: whoever has the process when it comes ends in good order."""
    with running(tmp_path) as server:
        deployed(server, "constant", command=[*COMMAND, marker])
        server.process.send_signal(signal.SIGUSR2)
        until(lambda: "upgrade: another program takes over" in events(server), "there is no way back")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert events(server).count("listening") == 2
    assert processes(marker) == set()


VANISHING = """#!/bin/sh
echo "it can start."
rm -- "$0"
"""


@needs_source
def test_when_the_new_program_can_t_be_executed_the_old_one_serves_on(tmp_path: Path, marker: str) -> None:
    program = tmp_path / "vanishing"
    code = f"""
import muxi.server.running as running
from muxi.server.program import Program
running.this_program = lambda: Program({str(program)!r}, ("muxi-server", "start"))
"""
    with running(tmp_path, code=code) as server:
        deployed(server, "constant", command=[*COMMAND, marker])
        with load(server.url) as work:
            for _ in range(2):
                program.write_text(VANISHING)
                program.chmod(0o755)
                done = upgrade(server)
                assert done.returncode == 1
                assert "can't be executed" in done.stderr
            served = work.served
            until(lambda: work.served > served + 50, "requests flow")
        assert work.failed == []
        found = server_status(server)
        assert (found["generation"], found["last_upgrade"]["ok"]) == (1, False)
        assert muxi(tmp_path, "config", "reload").returncode == 0
        assert len(processes(marker)) == 1
        assert server.terminate() == 0
    assert processes(marker) == set()


@needs_source
def test_a_program_that_is_not_there_is_not_let_in(tmp_path: Path) -> None:
    code = """
import muxi.server.running as running
from muxi.server.program import Program
running.this_program = lambda: Program("/nowhere/muxi-server", ("muxi-server", "start"))
"""
    with running(tmp_path, code=code) as server:
        done = upgrade(server)
        assert done.returncode == 1
        assert "The program /nowhere/muxi-server can't be run" in done.stderr
        assert server.get("/ping").text == "pong"
