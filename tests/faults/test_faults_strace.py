"""The kernel itself refuses: strace makes system calls of the running server fail while it updates.

What holds is told in an answer, the old release serves all along, and when the disk is well again the
same update goes through. Skipped where there is no strace, or where it may not trace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.integration.outside import recorder
from tests.live import LiveServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STRACE = shutil.which("strace")
ID = "steady"
FAULTS = [
    ("fsync,fdatasync", "ENOSPC"),
    ("fsync,fdatasync", "EIO"),
    ("rename,renameat,renameat2", "ENOSPC"),
    ("rename,renameat,renameat2", "EIO"),
    ("mkdir,mkdirat", "ENOSPC"),
    ("write,pwrite64", "ENOSPC"),
    ("write,pwrite64", "EIO"),
]


@contextmanager
def failing(server: LiveServer, calls: str, error: str) -> Iterator[None]:
    """Have these system calls of the server, in any of its threads, fail during the block."""
    assert STRACE is not None
    inject = f"inject={calls}:error={error}"
    argv = [
        STRACE,
        "-f",
        "-o",
        os.devnull,
        "-e",
        f"trace={calls}",
        "-e",
        inject,
        "-p",
        str(server.process.pid),
    ]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        first = tracer.stderr.readline()
        try:
            if "attached" not in first:
                pytest.skip(f"strace may not trace here: {first.strip()}")
            yield
        finally:
            tracer.terminate()
            tracer.stderr.read()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(tmp_path_factory.mktemp("server")) as live:
        assert live.deploy(ID, recorder(ID)).status_code == 201
        yield live


def update(server: LiveServer, word: str) -> tuple[int, dict[str, object]]:
    answer = server.rpc(
        "PUT",
        f"/rpc/formations/{ID}",
        content=recorder(ID, description=word),
        headers={"Content-Type": "application/gzip"},
    )
    body: dict[str, object] = answer.json()
    return answer.status_code, body


def entries(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.skipif(STRACE is None, reason="there is no strace")
@pytest.mark.parametrize(("calls", "error"), FAULTS)
def test_an_update_that_the_kernel_refuses_changes_nothing(
    server: LiveServer, calls: str, error: str
) -> None:
    home = server.formations / ID
    before, versions = server.formation(ID), (home / "version.json").read_bytes()
    releases = entries(home / "releases")
    with failing(server, calls, error):
        status, body = update(server, f"{calls} {error}")
        assert server.get(f"/api/{ID}/x").json() == {"pid": before["pid"]}
    assert status >= 500, body
    assert body["success"] is False
    assert "Traceback" not in json.dumps(body)
    assert (home / "version.json").read_bytes() == versions
    assert server.formation(ID)["pid"] == before["pid"]
    assert server.get(f"/api/{ID}/x").json() == {"pid": before["pid"]}
    status, body = update(server, f"{calls} {error}, now well")
    assert status == 200, body
    after = server.formation(ID)
    assert after["pid"] != before["pid"]
    assert server.get(f"/api/{ID}/x").json() == {"pid": after["pid"]}
    assert len(entries(home / "releases") - releases) == 1
    assert not [name for name in entries(server.formations / ".tmp") if name.startswith("extract")]
