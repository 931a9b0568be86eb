"""What the tests from outside share: bundles, configurations, processes, and waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.live import DEADLINE, bundle, environment, write_config
from tests.program import muxi_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import httpx

    from tests.live import LiveServer

RECORDER = Path(__file__).with_name("recorder.py").read_bytes()


def recorder(formation_id: str, **fields: object) -> bytes:
    """Pack the formation that tells what happens to it."""
    return bundle(formation_id, {"app.py": RECORDER}, **fields)


def deployed(server: LiveServer, formation_id: str, **fields: object) -> str:
    answer = server.deploy(formation_id, recorder(formation_id, **fields))
    assert answer.status_code == 201, answer.text
    return formation_id


def until(condition: Callable[[], bool], what: str) -> None:
    """Return once the condition holds. For what is seen from outside only, and has no event."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def check_files(server: LiveServer, before: set[str]) -> None:
    """Fail unless the data directory holds what it held before.

    A file that is being written (the registry is, a moment after an answer) may be there for a while.
    """
    until(lambda: server.files() == before, f"the files are {before ^ server.files()} away from before")


def processes(marker: str) -> set[int]:
    """Return the pids of the living processes with this text in their command line."""
    listing = subprocess.run(
        ["ps", "-axww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split(None, 2) for line in listing.splitlines())
    own = {os.getpid()}
    return {int(row[0]) for row in rows if len(row) == 3 and marker in row[2] and row[1][0] != "Z"} - own


def kill_all(marker: str) -> None:
    for pid in processes(marker):
        os.kill(pid, signal.SIGKILL)


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; one that only waits to be reaped by its parent has."""
    listing = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return listing[:1] in {"", "Z"}


def configure(directory: Path, overrides: Mapping[str, Any]) -> None:
    """Write the usual test configuration with some of its values changed."""
    write_config(directory)
    path = directory / "config" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    _merge(config, overrides)
    path.write_text(yaml.safe_dump(config))


def _merge(into: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    for name, value in overrides.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def muxi(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    return subprocess.run(
        muxi_command(*arguments),
        capture_output=True,
        text=True,
        cwd=directory,
        env=environment(directory),
        timeout=DEADLINE,
        check=False,
    )


def muxi_begun(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Begin a command of ours; what it writes is to be read, and its end waited for."""
    return subprocess.Popen(
        muxi_command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env=environment(directory),
    )


def audit_lines(server: LiveServer) -> list[dict[str, Any]]:
    """Read the audit log by the API; the request for it is not in it yet."""
    answer = server.rpc("GET", "/rpc/server/logs?lines=10000")
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def server_events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Read server-sent events from a streamed answer, as they come."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
