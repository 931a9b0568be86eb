"""A disk that is full, or becomes so in the middle: said clearly, and nothing is half made."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from muxi.config.model import BundleLimits
from muxi.errors import StorageError
from muxi.formation import source
from muxi.formation.bundle import extract
from muxi.formation.disk import require_space
from muxi.formation.gunzip import unpacked_size
from muxi.formation.releases import Release, Releases, sweep, workspace
from muxi.formation.upload import receive
from tests.formation.test_fleet import configuration, house
from tests.live import bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FILES = {"agents/one.txt": "1", "agents/two.txt": "2", "MUXI.md": "tuning", "memory.db": "rows"}


def release(archive: Path, base: Path) -> Release:
    """Do what a deploy does on the disk, with the steps of an update: there may be a release already."""
    extracted = extract(archive, workspace(base) / "extract", BundleLimits(), lambda _: None, lambda: None)
    releases = Releases(base, "hello")
    try:
        placed = releases.place(extracted.root, semantic="2", bundle_hash="b", content_hash="c")
    finally:
        shutil.rmtree(workspace(base) / "extract", ignore_errors=True)
    try:
        releases.commit(placed)
    except BaseException:
        releases.discard(placed)
        raise
    return placed


def prepared(tmp_path: Path) -> tuple[Path, Path]:
    """Give an archive, and formations with a first release."""
    base = tmp_path / "formations"
    archive = tmp_path / "bundle.tar.gz"
    tmp_path.mkdir()
    archive.write_bytes(bundle("hello"))
    release(archive, base)
    archive.write_bytes(bundle("hello", FILES))
    return archive, base


CONSUMING = ("write", "open", "mkdir", "symlink", "fsync")
RENAMING = ("rename", "replace")


def failing_from(step: int, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Let the disk be full from the n-th step on that takes space; a rename fails only if it is the n-th."""
    done = 0

    def wrap(name: str) -> None:
        original = getattr(os, name)

        def call(*arguments: object, **more: object) -> object:
            nonlocal done
            if name == "open" and not int(str(arguments[1])) & os.O_CREAT:
                return original(*arguments, **more)
            done += 1
            if done == step or (done > step and name in CONSUMING):
                raise OSError(errno.ENOSPC, "No space left on device")
            return original(*arguments, **more)

        patch.setattr(os, name, call)

    for name in (*CONSUMING, *RENAMING):
        wrap(name)
    return lambda: done


def refused(archive: Path, base: Path) -> StorageError | None:
    try:
        release(archive, base)
    except StorageError as error:
        return error
    return None


def tree(directory: Path) -> dict[str, str]:
    found = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
    return found


def test_full_at_any_step_it_is_the_old_release_or_the_new_one(tmp_path: Path) -> None:
    archive, base = prepared(tmp_path / "count")
    with pytest.MonkeyPatch.context() as patch:
        count = failing_from(1_000_000, patch)
        new = release(archive, base)
    steps = count()
    assert steps > 30
    after_commit = 0
    for step in range(1, steps + 1):
        archive, base = prepared(tmp_path / str(step))
        before = tree(base / "hello")
        with pytest.MonkeyPatch.context() as patch:
            failing_from(step, patch)
            refusal = refused(archive, base)
        if refusal is None:
            after_commit += 1
        else:
            assert "No space left" in refusal.message
            assert refusal.cure
        releases = Releases(base, "hello")
        current = releases.recover()
        assert current is not None
        sweep(workspace(base))
        if current.number == 1:
            assert tree(base / "hello") == before, f"full at step {step}"
        else:
            assert (current.path / "MUXI.md").read_text() == "tuning"
            assert (releases.home / "current").resolve() == current.path
        assert Releases(base, "hello").current() == current
        shutil.rmtree(tmp_path / str(step))
    assert new.number == 2
    assert 0 < after_commit < 10  # what fails after the commit is made good by the next start


def packed(size: int) -> bytes:
    """Pack a formation with a file that does not compress."""
    return bundle("hello", {"noise.bin": random.Random(size).randbytes(size)})


def test_the_estimate_is_the_unpacked_size(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(bundle("hello", {"zeros": bytes(1 << 20)}))
    assert 1 << 20 < unpacked_size(path, 10_000) < (1 << 20) + 20_000
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-4] + b"\xff\xff\xff\xff")
    assert unpacked_size(path, 200) == max(size * 200, 10 * 1024 * 1024)
    path.write_bytes(b"ab")
    assert unpacked_size(path, 200) == int.from_bytes(b"ab", "little")


def test_what_does_not_fit_is_refused_with_figures(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    require_space(tmp_path / "new", 0, 0, "extract the bundle")
    with pytest.raises(StorageError) as caught:
        require_space(tmp_path, 2 * free, 1000, "extract the bundle", stage="extracting")
    error = caught.value
    assert (error.status, error.code, error.stage) == (507, "DiskFull", "extracting")
    assert f"about {2 * free:,} bytes" in error.message
    assert "1,000 are to stay free" in error.message
    assert error.cure


async def test_a_deploy_that_does_not_fit_is_refused_before_it_is_extracted(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    async with house(configuration(tmp_path, disk_reserve=2 * free)) as made:
        operation = await made.begin("hello", bundle("hello"))
        with pytest.raises(StorageError) as caught:
            await operation.wait()
        assert (caught.value.code, caught.value.stage) == ("DiskFull", "extracting")
        assert made.fleet.list() == []
        assert not any(made.facilities.workspace.iterdir())


class Once:
    """A body that comes in one piece."""

    def __init__(self, content: bytes) -> None:
        self._pieces = [content]

    def __aiter__(self) -> Once:
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 2 MB; root only."""
    mount = tmp_path / "tiny"
    mount.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount a file system")
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if tried.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        yield mount
    finally:
        subprocess.run(["umount", str(mount)], check=True)


async def test_a_disk_that_is_really_full(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(tmp_path, disk_reserve=0)
    config = replace(config, formations=replace(config.formations, formations_dir=tiny / "formations"))
    async with house(config) as made:
        await made.deploy("small")
        before = tree(tiny / "formations" / "small")
        large = packed(1_200_000)  # fits as a bundle, and not unpacked beside it
        operation = await made.begin("hello", large)
        with pytest.raises(StorageError) as caught:
            await operation.wait()
        assert caught.value.code == "DiskFull"
        with monkeypatch.context() as patch:
            patch.setattr(source, "unpacked_size", lambda *_: 0)  # as if the bundle had lied
            operation = await made.begin("hello", large)
            with pytest.raises(StorageError, match="No space left") as caught:
                await operation.wait()
        assert (caught.value.status, caught.value.stage) == (507, "extracting")
        with pytest.raises(StorageError, match=r"save the bundle.*No space left"):
            await receive(Once(packed(3_000_000)), made.facilities.workspace, 1 << 30)
        assert [view.id for view in made.fleet.list()] == ["small"]
        assert made.fleet.get("small").status == "running"
        assert tree(tiny / "formations" / "small") == before
        assert not any(made.facilities.workspace.iterdir())
        await made.deploy("hello")
