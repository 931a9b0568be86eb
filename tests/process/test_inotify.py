from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from muxi.process.inotify import DirectoryWatch, FileWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def watch(path: Path) -> Iterator[FileWatch]:
    path.write_text("begin")
    watch = FileWatch(path)
    yield watch
    watch.close()


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_text("other")
    other.replace(path)


def write(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def read(path: Path) -> None:
    path.read_text()


def read_and_add_a_name(path: Path) -> None:
    read(path)
    (path.parent / "another").touch()


CHANGES: list[Callable[[Path], object]] = [
    lambda path: path.write_text("new"),
    lambda path: write(path, "x"),
    replace,
    lambda path: path.unlink(),
    lambda path: path.rename(path.with_suffix(".1")),
]


@pytest.mark.parametrize("change", CHANGES, ids=["rewrite", "append", "replace", "remove", "rename"])
async def test_every_kind_of_change_wakes(
    watch: FileWatch, path: Path, change: Callable[[Path], object]
) -> None:
    change(path)
    with trio.fail_after(30):
        await watch.wait()


async def test_nothing_wakes_without_a_change(watch: FileWatch, path: Path) -> None:
    read_and_add_a_name(path)
    with trio.fail_after(30):
        await watch.wait()  # spurious: the directory has a new name
    read(path)
    with trio.move_on_after(0.05) as scope:
        await watch.wait()
    assert scope.cancelled_caught


async def test_a_new_file_is_watched_once_armed(tmp_path: Path) -> None:
    path = tmp_path / "later"
    watch = FileWatch(path)
    with trio.fail_after(30):
        write(path, "a")
        await watch.wait()
        watch.arm()
        write(path, "b")
        await watch.wait()
    watch.close()


def test_no_directory_no_watch(tmp_path: Path, count_fds: Callable[[], int]) -> None:
    before = count_fds()
    with pytest.raises(FileNotFoundError):
        FileWatch(tmp_path / "no" / "file")
    assert count_fds() == before


async def test_a_directory_tells_which_files_were_written_to(tmp_path: Path) -> None:
    quiet, busy = tmp_path / "quiet.log", tmp_path / "busy.log"
    write(quiet, "before")
    watch = DirectoryWatch(tmp_path)
    try:
        with trio.fail_after(30):
            write(busy, "one")
            write(busy, "two")
            assert await watch.wait() == {"busy.log"}
            write(quiet, "now")
            replace(busy)
            assert await watch.wait() == {"quiet.log", "busy.new", "busy.log"}
    finally:
        watch.close()


async def test_a_directory_where_very_much_happens_misses_none_of_it(tmp_path: Path) -> None:
    watch = DirectoryWatch(tmp_path)
    try:
        with trio.fail_after(30):
            for number in range(1000):
                write(tmp_path / f"{number}.log", "x")
            assert await watch.wait() == {f"{number}.log" for number in range(1000)}
            write(tmp_path / "last.log", "x")
            assert await watch.wait() == {"last.log"}
    finally:
        watch.close()


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DirectoryWatch(tmp_path / "nowhere")
