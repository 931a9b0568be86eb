"""The server is killed at each step of an operation, and started again: old or new, never neither.

A walk goes on from one death to the next in the same directory, as a machine with bad luck would.
By default every fourth step is taken, beginning with the number of the operation, so that all
kinds of steps are among them; MUXI_FAULTS=full takes them all.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration import counter
from tests.integration.outside import processes, until
from tests.live import LiveServer, bundle, free_ports, running, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
COUNTER = Path(counter.__file__).read_bytes()
DYING = (str(HERE / "dying.py"),)
ID = "counts"
STRIDE = 1 if os.environ.get("MUXI_FAULTS") == "full" else 4
MOST_STEPS = 400

Operation = Callable[[LiveServer], httpx.Response]


def packed(number: int, marker: str, formation_id: str = ID) -> bytes:
    return bundle(
        formation_id,
        {"app.py": COUNTER},
        version=f"{number}.0.0",
        command=["python3", "app.py", marker],
        env={"RELEASE": str(number)},
    )


def release_named(live: LiveServer) -> str:
    answer = live.get(f"/api/{ID}/release")
    assert answer.status_code == 200, answer.text
    return answer.text


class Walk:
    """One directory, and the servers that die in it."""

    def __init__(self, directory: Path, marker: str) -> None:
        self.directory = directory
        self.marker = marker
        self.arm = directory / "die-at"
        self.told: list[int] = []
        self.seen: list[str] = []
        write_config(directory, ports=free_ports())

    @contextlib.contextmanager
    def server(self) -> Iterator[LiveServer]:
        with running(self.directory, program=DYING, DIE_AT=str(self.arm)) as live:
            yield live

    def die_in(self, live: LiveServer, step: int, operation: Operation) -> bool:
        """Say whether the server died at that step; False: the operation came to its end before."""
        seen = self.arm.with_name(self.arm.name + ".seen")
        seen.unlink(missing_ok=True)
        self.arm.write_text(str(step))
        try:
            with self.counting(live):
                answer = operation(live)
        except httpx.HTTPError:
            live.process.wait(60)
            return True
        else:
            assert answer.status_code in {200, 201}, answer.text
            return False
        finally:
            self.arm.unlink()
            self.seen = seen.read_text().splitlines()

    @contextlib.contextmanager
    def counting(self, live: LiveServer) -> Iterator[None]:
        """Have the formation count all the while, and keep what it has told."""
        over = threading.Event()

        def count() -> None:
            with httpx.Client(timeout=60, trust_env=False) as client, contextlib.suppress(httpx.HTTPError):
                while not over.wait(0.005):
                    answer = client.get(f"{live.url}/api/{ID}/count")
                    if answer.status_code == 200:
                        self.told.append(int(answer.text))

        threads = [threading.Thread(target=count) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def check(self, live: LiveServer) -> str:
        """Everything agrees on one release, nothing else is left, and no answer was a lie."""
        live.wait_until(ID, status="running", healthy=True, operation_id=None)
        where = self.seen[-1] if self.seen else "the start"
        home = live.formations / ID
        version = json.loads((home / "version.json").read_text())
        number = version["current_version"]
        semantic = version["current"]["semantic"]
        assert release_named(live) == semantic.partition(".")[0], where
        found = live.formation(ID)
        assert found["version"]["semantic"] == semantic, where  # type: ignore[index]
        until(lambda: processes(self.marker) == {found["pid"]}, f"one process is left after {where}")
        assert (home / "current").readlink() == Path("releases") / str(number), where
        kept = {str(entry["version"]) for entry in (version["current"], version.get("previous")) if entry}
        assert {path.name for path in (home / "releases").iterdir()} == kept, where
        assert not list((live.formations / ".tmp").iterdir()), where
        ports = live.rpc("GET", "/rpc/server/status").json()["data"]["ports"]
        assert ports["allocated"] == 1, where
        with contextlib.closing(sqlite3.connect(home / "state" / "memory.db")) as database:
            rows = {row[0] for row in database.execute("SELECT n FROM counts")}
        assert set(self.told) <= rows, where
        return str(semantic)


def update(number: int, marker: str, strategy: str) -> Operation:
    def ask(live: LiveServer) -> httpx.Response:
        path = f"/rpc/formations/{ID}"
        headers = {"Content-Type": "application/gzip", "X-Muxi-Strategy": strategy}
        return live.rpc("PUT", path, content=packed(number, marker), headers=headers)

    return ask


def rollback(live: LiveServer) -> httpx.Response:
    return live.rpc("POST", f"/rpc/formations/{ID}/rollback")


class Outcome:
    """What came of the deaths so far: which release is current, and which way each one went."""

    def __init__(self, current: str) -> None:
        self.current = current
        self.went = set[bool]()

    def note(self, found: str, new: str, where: str) -> None:
        assert found in {self.current, new}, f"neither the old nor the new release after {where}"
        self.went.add(found == new)
        self.current = found


def through(walk: Walk, outcome: Outcome, begin: Callable[[int], tuple[str, Operation]]) -> None:
    """Walk through an operation. `begin` tells which release it would lead to, and how it is asked for."""
    pending: str | None = None
    for step in range(1, MOST_STEPS, STRIDE):
        with walk.server() as live:
            found = walk.check(live)
            if pending is not None:
                outcome.note(found, pending, walk.seen[-1])
            pending, operation = begin(step)
            if not walk.die_in(live, step, operation):
                assert walk.check(live) == pending
                break
    else:
        pytest.fail(f"it takes more than {MOST_STEPS} steps")
    assert outcome.went == {True, False}, "deaths on both sides of the commit were walked through"
    assert walk.told


@pytest.mark.parametrize("strategy", ["blue-green", "recreate"])
def test_an_update_survives_the_death_of_the_server_at_each_step(
    tmp_path: Path, marker: str, strategy: str
) -> None:
    walk = Walk(tmp_path, marker)
    with walk.server() as live:
        assert live.deploy(ID, packed(1, marker)).status_code == 201

    def begin(step: int) -> tuple[str, Operation]:
        return f"{step + 1}.0.0", update(step + 1, marker, strategy)

    through(walk, Outcome("1.0.0"), begin)


def test_a_rollback_survives_the_death_of_the_server_at_each_step(tmp_path: Path, marker: str) -> None:
    walk = Walk(tmp_path, marker)
    with walk.server() as live:
        assert live.deploy(ID, packed(1, marker)).status_code == 201
        assert update(2, marker, "blue-green")(live).status_code == 200
    outcome = Outcome("2.0.0")
    through(walk, outcome, lambda _step: ("1.0.0" if outcome.current == "2.0.0" else "2.0.0", rollback))


def test_a_deploy_survives_the_death_of_the_server_at_each_step(tmp_path: Path, marker: str) -> None:
    walk = Walk(tmp_path, marker)
    went = set[bool]()

    def deploy(live: LiveServer) -> httpx.Response:
        return live.deploy(ID, packed(1, marker))

    for step in range(1, MOST_STEPS, STRIDE):
        with walk.server() as live:
            if step > 1:
                until(lambda live=live: settled(live), f"deployed or gone after {walk.seen[-1]}")  # type: ignore[misc]
                there = live.rpc("GET", f"/rpc/formations/{ID}").status_code == 200
                went.add(there)
                if there:
                    walk.check(live)
                    assert live.rpc("DELETE", f"/rpc/formations/{ID}").status_code == 200
                until(lambda: processes(marker) == set(), "no process is left")
                assert not [path for path in live.formations.iterdir() if path.name != ".tmp"]
                assert live.rpc("GET", "/rpc/server/status").json()["data"]["ports"]["allocated"] == 0
            if not walk.die_in(live, step, deploy):
                walk.check(live)
                break
    else:
        pytest.fail(f"a deploy takes more than {MOST_STEPS} steps")
    assert went == {True, False}, "deaths on both sides of the commit were walked through"


def settled(live: LiveServer) -> bool:
    """Say whether the formation is gone, or is there and runs."""
    answer = live.rpc("GET", f"/rpc/formations/{ID}")
    return answer.status_code == 404 or answer.json()["data"]["status"] == "running"
