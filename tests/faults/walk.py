"""What tests of faults share: a server that meets one at a certain step, and a look at what it left."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.integration import counter
from tests.integration.outside import processes, until
from tests.live import LiveServer, bundle, free_ports, manifest, running, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
COUNTER = Path(counter.__file__).read_bytes()
DYING = (sys.executable, str(HERE / "dying.py"))
ID = "counts"
STRIDE = 1 if os.environ.get("MUXI_FAULTS") == "full" else 12
MOST_STEPS = 400

Operation = Callable[[LiveServer], httpx.Response]


def fields(number: int, marker: str) -> dict[str, object]:
    command = ["python3", "app.py", marker]
    return {"version": f"{number}.0.0", "command": command, "env": {"RELEASE": str(number)}}


def packed(number: int, marker: str, formation_id: str = ID) -> bytes:
    return bundle(formation_id, {"app.py": COUNTER}, **fields(number, marker))


def write_draft(live: LiveServer, marker: str) -> None:
    """Begin a draft that is what `packed` packs."""
    files = {"formation.afs": manifest(ID, **fields(1, marker)), "app.py": COUNTER.decode()}
    assert draft("init", mode="new")(live).status_code == 200
    for path, content in files.items():
        assert draft("write", path=path, content=content)(live).status_code == 200


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
        try:
            answer = self.fault(live, step, "kill", operation)
        except httpx.HTTPError:
            live.process.wait(60)
            return True
        assert answer.status_code in {200, 201}, answer.text
        return False

    def fault(self, live: LiveServer, step: int, what: str, operation: Operation) -> httpx.Response:
        """Carry out an operation that meets a fault at that step, and give its answer."""
        seen = self.arm.with_name(self.arm.name + ".seen")
        seen.unlink(missing_ok=True)
        self.arm.write_text(f"{step} {what} {uuid.uuid4().hex}")
        try:
            with self.counting(live):
                return operation(live)
        finally:
            self.arm.unlink()
            self.seen = seen.read_text().splitlines()

    @contextlib.contextmanager
    def counting(self, live: LiveServer) -> Iterator[None]:
        """Have the formation count all the while, and keep what it has told."""
        over = threading.Event()

        def count() -> None:
            with httpx.Client(timeout=60, trust_env=False) as client, contextlib.suppress(httpx.HTTPError):
                while not over.wait(0.02):
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

    def check(self, live: LiveServer, *, tidy: bool = True) -> str:
        """Everything agrees on one release, nothing else is left, and no answer was a lie.

        Not `tidy`: the disk may have refused to have links set and old releases removed.
        """
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
        assert not tidy or (home / "current").readlink() == Path("releases") / str(number), where
        kept = {str(entry["version"]) for entry in (version["current"], version.get("previous")) if entry}
        there = {path.name for path in (home / "releases").iterdir()}
        assert there == kept if tidy else there >= kept, where
        assert not list((live.formations / ".tmp").iterdir()), where
        ports = live.rpc("GET", "/rpc/server/status").json()["data"]["ports"]
        assert ports["allocated"] == 1, where
        with contextlib.closing(sqlite3.connect(home / "state" / "memory.db")) as database:
            rows = {row[0] for row in database.execute("SELECT n FROM counts")}
        assert set(self.told) <= rows, where
        return str(semantic)


def replayed(answer: httpx.Response) -> bool:
    """Say whether it is the answer to an earlier request with the same key."""
    return "Idempotency-Replayed" in answer.headers


def deploy(marker: str) -> Operation:
    headers = {"Content-Type": "application/gzip", "X-Formation-ID": ID}
    return _keyed("POST", "/rpc/formations", packed(1, marker), **headers)


def deploy_draft() -> Operation:
    return draft("deploy")


def update(number: int, marker: str, strategy: str) -> Operation:
    headers = {"Content-Type": "application/gzip", "X-Muxi-Strategy": strategy}
    return _keyed("PUT", f"/rpc/formations/{ID}", packed(number, marker), **headers)


def order(what: str) -> Operation:
    """Stop, start, restart or delete."""
    if what == "delete":
        return _keyed("DELETE", f"/rpc/formations/{ID}", b"")
    return _keyed("POST", f"/rpc/formations/{ID}/{what}", b"")


def rollback() -> Operation:
    return _keyed("POST", f"/rpc/formations/{ID}/rollback", b"")


def draft(action: str, **fields: str) -> Operation:
    content = json.dumps({"action": action, **fields}).encode()
    headers = {"Content-Type": "application/json"}
    return _keyed("POST", f"/rpc/formations/{ID}/draft/files", content, **headers)


def _keyed(method: str, path: str, content: bytes, **headers: str) -> Operation:
    """Return what sends a request, the same one with the same key each time."""
    headers["X-Muxi-Idempotency-Key"] = str(uuid.uuid4())
    return lambda live: live.rpc(method, path, content=content, headers=headers)
