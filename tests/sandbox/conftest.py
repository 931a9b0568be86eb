from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.process.spec import ProcessSpec
from muxi.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

APPS = Path(__file__).parent / "apps"


@dataclass
class Operator:
    """What the operator says."""

    sandbox: str = "required"
    sandbox_paths: tuple[str, ...] = ()
    user: str = ""


@dataclass
class Home:
    """A formation's directories, below a data directory that holds a secret."""

    data: Path
    release: Path
    state: Path
    secret: Path

    def spec(self, port: int, program: str = "inside.py", **env: str) -> ProcessSpec:
        return ProcessSpec(
            process_id="agent",
            argv=(sys.executable, str(self.release / program)),
            cwd=self.release,
            host="127.0.0.1",
            port=port,
            stdout=self.data / "logs" / "agent-out.log",
            stderr=self.data / "logs" / "agent-err.log",
            env={
                "PATH": os.defpath,
                "HOME": str(self.state),
                "PORT": str(port),
                "ON_TERM": "0",
                "SECRET_FILE": str(self.secret),
                **env,
            },
            stop_timeout=20.0,
        )

    def said(self) -> str:
        return (self.data / "logs" / "agent-err.log").read_text()


@pytest.fixture
def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    data = tmp_path / "data"
    made = Home(
        data,
        data / "formations" / "agent" / "releases" / "1",
        data / "formations" / "agent" / "state",
        data / "key",
    )
    shutil.copytree(APPS, made.release)
    made.state.mkdir()
    made.secret.write_text("canary")
    (made.release / "memory.db").symlink_to(Path("..", "..", "state", "memory.db"))
    return made


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
async def sandbox(home: Home, operator: Operator) -> Sandbox:
    """Give a sandbox of the real kind; skipped where none can be made."""
    made = Sandbox(
        lambda: operator,
        directory=home.data / "sandbox",
        private=(home.data,),
        search_path=os.environ["PATH"],
    )
    await made.look()
    if not made.status.program:
        pytest.skip(f"no sandbox can be made here: {made.status.problem}")
    return made


async def eventually(holds: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.01)
