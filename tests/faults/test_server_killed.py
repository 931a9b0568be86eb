"""The server is killed again and again at random moments, under load, while somebody manages it.

What must hold after each start: the registry can be read, every formation is there exactly once and
is the process that it was, and nobody's request was lost while a server was there.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.callers import Caller, Outages
from tests.faults.churn import ID as CHURNED
from tests.faults.churn import Churn
from tests.integration.outside import recorder, until
from tests.live import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live import LiveServer

KILLS = 200 if os.environ.get("MUXI_FAULTS") == "full" else 6
SEED = int(os.environ.get("MUXI_SEED", "20261125"))
LONGEST_LIFE = 1.0
STEADY = ("one", "two", "three")


@pytest.fixture
def mark() -> Iterator[str]:
    """A word in the environment of every formation of the test; none is left after it."""
    word = uuid.uuid4().hex
    yield word
    left = marked(word)
    for pid in left:
        os.kill(pid, 9)
    assert not left, "processes were left behind"


def marked(word: str) -> dict[int, str]:
    """Return the living processes with this mark, and the ids of their formations."""
    found: dict[int, str] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = (directory / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        values = dict(entry.partition(b"=")[::2] for entry in environment)
        if values.get(b"FAULTS_MARK") == word.encode():
            found[int(directory.name)] = values.get(b"FORMATION_ID", b"?").decode()
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def check_registry(server: LiveServer) -> None:
    records = json.loads((server.data / "registry.json").read_bytes())
    assert {record["id"] for record in records["formations"]} >= set(STEADY)
    assert not list(server.data.glob("registry.json.damaged*"))


def check_steady(server: LiveServer, mark: str, before: dict[str, object]) -> None:
    """Fail unless each steady formation runs, once, and is the process that it was."""
    for formation_id in STEADY:
        found = server.wait_until(formation_id, status="running", healthy=True)
        assert found["pid"] == before[formation_id], f"{formation_id} was started again"
        assert found["restart_count"] == 0
    mine = [name for name in marked(mark).values() if name in STEADY]
    assert sorted(mine) == sorted(STEADY)


def check_churned(server: LiveServer, mark: str) -> None:
    """Fail unless the managed formation's process is there once, or not at all, as the server says."""

    def agrees() -> bool:
        found = server.rpc("GET", f"/rpc/formations/{CHURNED}")
        running_now = found.status_code == 200 and found.json()["data"]["pid"] != 0
        return list(marked(mark).values()).count(CHURNED) == int(running_now)

    until(agrees, "what runs and what the server says agree")


class Trial:
    """The lives of a server on one directory and port, each but the last ended by SIGKILL."""

    def __init__(self, directory: Path, mark: str) -> None:
        self.outages = Outages()
        self.callers: list[Caller] = []
        self.churn = Churn(SEED, {"FAULTS_MARK": mark})
        self._directory = directory
        self._mark = mark
        self._port = str(free_port())
        self._moments = random.Random(SEED)
        self._pids: dict[str, object] = {}

    @contextmanager
    def life(self) -> Iterator[LiveServer]:
        """Start the server; it has lost nothing."""
        with running(self._directory, MUXI_PORT=self._port) as server:
            self.outages.end(time.monotonic())
            if not self._pids:
                self._deploy(server)
            check_registry(server)
            check_steady(server, self._mark, self._pids)
            self.churn.turn_to(server)
            yield server

    def begin_load(self, clients: ExitStack, url: str) -> None:
        self.callers = [clients.enter_context(Caller(url, f"/api/{name}/x")) for name in STEADY]
        clients.enter_context(self.churn)

    def kill(self, server: LiveServer) -> None:
        """Kill it at a random moment of its life."""
        time.sleep(self._moments.uniform(0, LONGEST_LIFE))
        self.churn.turn_to(None)
        self.outages.begin(time.monotonic())
        server.process.kill()
        server.process.wait()

    def _deploy(self, server: LiveServer) -> None:
        for name in STEADY:
            answer = server.deploy(name, recorder(name, env={"FAULTS_MARK": self._mark}))
            assert answer.status_code == 201, answer.text
            self._pids[name] = server.formation(name)["pid"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by /proc")
def test_a_server_killed_at_any_moment_loses_nothing(tmp_path: Path, mark: str) -> None:
    trial = Trial(tmp_path, mark)
    with ExitStack() as clients:
        for turn in range(KILLS):
            with trial.life() as server:
                if turn == 0:
                    trial.begin_load(clients, server.url)
                trial.kill(server)
        with trial.life() as server:
            until(lambda: trial.churn.done > 0, "an order was carried out")
            clients.close()
            check_churned(server, mark)
    lost = [lost for caller in trial.callers for lost in caller.lost]
    assert [one for one in lost if not trial.outages.explains(one)] == []
    assert all(caller.answered > KILLS for caller in trial.callers)
    assert trial.churn.surprises == []
