from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.process import tree_watch
from muxi.process.tree_watch import TreeWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_watch, "SETTLE_SECONDS", 0.01)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("agents/deep", ".git", "node_modules/x", "__pycache__"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "app.py").write_text("1")
    return tmp_path


CHANGES: dict[str, Callable[[Path], object]] = {
    "written": lambda root: (root / "app.py").write_text("2"),
    "new": lambda root: (root / "agents" / "deep" / "new.yaml").write_text("x"),
    "removed": lambda root: (root / "app.py").unlink(),
    "replaced": lambda root: (root / "agents" / "deep").rename(root / "deep"),
    "directory": lambda root: (root / "more").mkdir(),
}
IGNORED: dict[str, Callable[[Path], object]] = {
    "database": lambda root: (root / "memory.db-wal").write_text("x"),
    "log": lambda root: (root / "out.log").write_text("x"),
    "hidden": lambda root: (root / ".app.py.swp").write_text("x"),
    "git": lambda root: (root / ".git" / "index").write_text("x"),
    "modules": lambda root: (root / "node_modules" / "x" / "y.js").write_text("x"),
    "read": lambda root: (root / "app.py").read_text(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_is_told(root: Path, change: Callable[[Path], object]) -> None:
    watch = TreeWatch(root)
    try:
        change(root)
        with trio.fail_after(30):
            await watch.changed()
    finally:
        watch.close()


async def test_what_tools_write_is_not(root: Path) -> None:
    watch = TreeWatch(root)
    try:
        for change in IGNORED.values():
            change(root)
        async with trio.open_nursery() as nursery:
            told = trio.Event()

            async def wait() -> None:
                await watch.changed()
                told.set()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert not told.is_set()
            (root / "app.py").write_text("3")
            with trio.fail_after(30):
                await told.wait()
    finally:
        watch.close()


async def test_a_directory_that_is_new_is_watched_too(root: Path) -> None:
    watch = TreeWatch(root)
    try:
        with trio.fail_after(30):
            (root / "more" / "deep").mkdir(parents=True)
            await watch.changed()
            (root / "more" / "deep" / "new.py").write_text("x")
            await watch.changed()
    finally:
        watch.close()


def test_too_many_directories_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_watch, "MOST_DIRECTORIES", 2)
    with pytest.raises(OSError, match="more than 2 directories"):
        TreeWatch(root)
