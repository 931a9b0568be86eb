"""Backup and restore as docs/production.md has them: what ran on one machine runs on the other."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from tests.docs.blocks import of_stage
from tests.live import bundle, running, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live import LiveServer


@contextmanager
def machine(root: Path) -> Iterator[LiveServer]:
    """Run the server of a machine whose files begin at `root`, installed for the whole of it."""
    directories = {
        "MUXI_CONFIG_DIR": root / "etc/muxi/server",
        "MUXI_DATA_DIR": root / "var/lib/muxi",
        "MUXI_LOG_DIR": root / "var/log/muxi",
        "MUXI_CACHE_DIR": root / "var/lib/muxi/cache",
    }
    with running(root, **{name: str(path) for name, path in directories.items()}) as server:
        yield server


def run(stage: str, directory: Path, root: Path) -> None:
    """Run the page's block for this, with `root` for the machine's root."""
    (block,) = of_stage(stage)["docs/production.md"]
    text = block.text.replace("-C /", f"-C '{root}'")
    assert text != block.text
    subprocess.run(["sh", "-euc", text], cwd=directory, check=True, timeout=120)


def test_what_was_backed_up_runs_again_elsewhere(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    write_config(tmp_path)
    (old / "etc/muxi").mkdir(parents=True)
    (tmp_path / "config").rename(old / "etc/muxi/server")
    (old / "config").mkdir()
    with machine(old) as server:
        assert server.deploy("kept", bundle("kept")).status_code == 201
        database = old / "var/lib/muxi/formations/kept/state/memory.db"
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("CREATE TABLE told (what TEXT)")
            connection.execute("INSERT INTO told VALUES ('remember me')")
        assert server.terminate() == 0
    run("backup", tmp_path, old)
    shutil.rmtree(old)
    new.mkdir()
    (new / "config").mkdir()
    run("restore", tmp_path, new)
    with machine(new) as server:
        server.wait_until("kept", status="running")
        assert server.get("/api/kept/hello").json() == {"path": "/hello"}
        restored = new / "var/lib/muxi/formations/kept/state/memory.db"
        with closing(sqlite3.connect(restored)) as connection:
            assert connection.execute("SELECT what FROM told").fetchall() == [("remember me",)]
