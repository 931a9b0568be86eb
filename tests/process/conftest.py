from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
import trio

from muxi.process import procfs
from muxi.process.health import HealthCheck, Liveness, Readiness, StartUp
from muxi.process.spec import ProcessSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

APPS = Path(__file__).parent / "apps"
QUICK = HealthCheck(
    start_up=StartUp(interval=0.05, timeout=5.0, budget=30.0),
    readiness=Readiness(interval=0.05, timeout=5.0),
    liveness=Liveness(threshold=0),
)
NO_CHECK = HealthCheck(
    start_up=StartUp(paths=(), interval=0.0), readiness=Readiness(paths=()), liveness=Liveness(threshold=0)
)


class MakeSpec(Protocol):
    """Make a spec of Python code, of an app's name ("agent.py"), or of a whole argv."""

    def __call__(
        self, program: str | tuple[str, ...], *args: str, env: dict[str, str] | None = None, **changes: object
    ) -> ProcessSpec: ...


@pytest.fixture
def port() -> int:
    return _free_port()


@pytest.fixture
def other_port() -> int:
    return _free_port()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def make_spec(tmp_path: Path, port: int) -> MakeSpec:
    def make(
        program: str | tuple[str, ...], *args: str, env: dict[str, str] | None = None, **changes: object
    ) -> ProcessSpec:
        if isinstance(program, str):
            source = (str(APPS / program),) if program.endswith(".py") else ("-c", program)
            program = (sys.executable, "-I", "-S", *source)
        spec = ProcessSpec(
            process_id="agent",
            argv=(*program, *args),
            cwd=tmp_path,
            host="127.0.0.1",
            port=port,
            stdout=tmp_path / "logs" / "agent-out.log",
            stderr=tmp_path / "logs" / "agent-err.log",
            env={"HOST": "127.0.0.1", "PORT": str(port), **(env or {})},
            health=QUICK,
            stop_timeout=20.0,
        )
        return replace(spec, **changes)  # type: ignore[arg-type]

    return make


async def _eventually(holds: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.01)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait until a condition that can be observed holds; fail after 30 s."""
    return _eventually


def alive(pid: int) -> bool:
    """Say whether a process runs: a zombie does not."""
    stat = procfs.read_stat(pid)
    return stat is not None and stat.alive


def children() -> set[int]:
    """Return our child processes, zombies among them; another test's may be there."""
    return set(procfs.children(os.getpid()))


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    return alive


@pytest.fixture
def count_fds() -> Callable[[], int]:
    return lambda: len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Mount a file system of 1 MiB; skipped where we may not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if request.param == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    else:
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(1 << 20)
        make = ["mkfs.ext4", "-q", "-O", "^has_journal", str(image)]
        made = subprocess.run(make, capture_output=True, check=False)
        command = ["mount", "-o", "loop", str(image), str(disk)]
        if made.returncode:
            pytest.skip("no ext4 can be made here")
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield disk
    # Lazily: a thread that was left alone with its last rotation may still have a file open.
    subprocess.run(["umount", "-l", str(disk)], check=True)
