"""Control groups: what is tried at the start, and real ones where this machine lets us have them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.process import cgroup_trial
from muxi.process.cgroup_layout import hierarchies
from muxi.process.cgroup_trial import detect, installation
from muxi.process.cgroups import Group, Groups, Place
from muxi.process.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = Limits(memory=64 * 1024**2, cpu=0.5, processes=10)


class Tree:
    """A tree of version 2 made of plain files, as the kernel would show it."""

    def __init__(self, directory: Path, own: str) -> None:
        self.mount = directory / "cgroup"
        self.own = self.mount / own
        self.proc = directory / "proc"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self/cgroup").write_text(f"0::/{own}\n")
        (self.proc / "self/mountinfo").write_text(f"30 24 0:26 / {self.mount} rw - cgroup2 cgroup2 rw\n")
        self.mount.mkdir()
        path = self.mount
        for part in Path(own).parts:
            path /= part
            path.mkdir()


def fill(directory: Path, *, root: bool = False) -> None:
    """Put the files in a directory that the kernel puts in a group."""
    for name in ("cgroup.procs", "cgroup.subtree_control", "memory.max", "cpu.max", "pids.max"):
        (directory / name).write_text("")
    (directory / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    if not root:
        (directory / "cgroup.type").write_text("domain\n")


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make directories below a test's tree fill and empty themselves as those of cgroupfs do."""
    make, remove = Path.mkdir, Path.rmdir

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        make(self, mode, parents, exist_ok)
        if self.is_relative_to(tmp_path / "cgroup"):
            fill(self, root=self == tmp_path / "cgroup")

    def rmdir(self: Path) -> None:
        if self.is_relative_to(tmp_path / "cgroup"):
            shutil.rmtree(self)
        else:
            remove(self)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "rmdir", rmdir)
    monkeypatch.setattr(cgroup_trial, "SYSTEMD", tmp_path / "no-systemd")
    return tmp_path


def test_version_2_in_a_group_of_our_own(pretended: Path) -> None:
    tree = Tree(pretended, "service")
    groups = detect("x", tree.proc)
    base = tree.own / "muxi-x"
    assert groups.places == (Place(2, base, frozenset({"memory", "cpu", "pids"})),)
    assert groups.note == ""
    assert (tree.own / "server" / "cgroup.procs").read_text() == str(os.getpid())
    assert (tree.own / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (base / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert [path for path in base.iterdir() if path.is_dir()] == []  # nothing is left of the trial
    assert groups.version_of("memory") == 2


def test_a_server_that_is_in_its_own_group_already_stays_there(pretended: Path) -> None:
    tree = Tree(pretended, "service/server")
    groups = detect("x", tree.proc)
    assert groups.places[0].directory == tree.mount / "service/muxi-x"
    assert (tree.own / "cgroup.procs").read_text() == ""


def test_limits_of_a_group_are_written(pretended: Path) -> None:
    groups = detect("x", Tree(pretended, "service").proc)
    group = groups.make("agent-0123", LIMITS)
    assert group is not None
    (place,) = group.places
    assert place.directory.name.startswith("agent-0123-")
    assert (place.directory / "memory.max").read_text() == str(LIMITS.memory)
    assert (place.directory / "cpu.max").read_text() == "50000 100000"
    assert (place.directory / "pids.max").read_text() == "10"
    group.join(4711)
    assert group.processes() == {4711}
    (place.directory / "memory.events").write_text("oom_kill 2\n")
    assert group.oom_kills() == 2
    groups.drop(group)
    assert not place.directory.exists()
    assert (group.processes(), group.oom_kills()) == (set(), 0)


def test_two_processes_of_one_name_have_two_groups(pretended: Path) -> None:
    groups = detect("x", Tree(pretended, "service").proc)
    one, other = groups.make("agent-0123", LIMITS), groups.make("agent-0123", LIMITS)
    assert one is not None
    assert other is not None
    assert one.places != other.places


def test_what_systemd_has_not_delegated_is_left_alone(pretended: Path) -> None:
    tree = Tree(pretended, "user.slice")
    cgroup_trial.SYSTEMD.mkdir()
    groups = detect("x", tree.proc)
    assert groups.places == ()
    assert "Delegate=yes" in groups.note
    assert sorted(path.name for path in tree.own.iterdir() if path.is_dir()) == []


def test_a_group_with_strangers_in_it_stays_as_it_was(
    pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(pretended, "service")

    def refuse(*_: object) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(cgroup_trial, "_enable", refuse)
    groups = detect("x", tree.proc)
    assert groups.places == ()
    assert groups.note == "cgroup v2: Device or resource busy"
    assert (tree.own / "cgroup.procs").read_text() == str(os.getpid())  # back where we were
    assert not (tree.own / "server").exists()


def test_without_control_groups_there_are_none(tmp_path: Path) -> None:
    assert detect("x", tmp_path).places == ()
    assert "no control groups" in detect("x", tmp_path).note
    assert Groups().make("agent", LIMITS) is None


def test_read_only_control_groups_are_told(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "service")
    fill(tree.own, root=True)
    (tree.own / "cgroup.subtree_control").unlink()
    groups = detect("x", tree.proc)
    assert groups.places == ()
    assert groups.note.startswith("cgroup v2: ")


def test_a_file_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives the list of a group's processes piece by piece."""
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 7)))
    (tmp_path / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in range(100, 200)))
    assert Group((Place(2, tmp_path, frozenset()),)).processes() == set(range(100, 200))


def test_an_installation_has_one_name(tmp_path: Path) -> None:
    assert installation(tmp_path) == installation(tmp_path)
    assert installation(tmp_path) != installation(tmp_path / "other")


# Real ones


@pytest.fixture
def real() -> Iterator[Groups]:
    groups = detect(f"test-{os.getpid()}")
    try:
        if groups.version_of("memory") is None:
            pytest.skip(f"no control groups for us here ({groups.note or 'none is mounted'})")
        yield groups
    finally:
        groups.close()


def test_a_real_group_counts_what_it_kills(real: Groups) -> None:
    group = real.make("hungry", LIMITS)
    assert group is not None
    code = "import sys; sys.stdin.read(1); bytearray(400 * 1024**2)"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE) as process:
        group.join(process.pid)
        assert group.processes() == {process.pid}
        process.communicate(b"\n", timeout=30)
    assert process.returncode == -9
    assert group.oom_kills() == 1
    real.drop(group)
    assert not any(place.directory.exists() for place in group.places)


@pytest.fixture
def bare() -> Iterator[Groups]:
    """Make groups in a tree of version 2, though another one may have its controllers."""
    texts = [Path(f"/proc/self/{name}").read_text(encoding="utf-8") for name in ("cgroup", "mountinfo")]
    tree = next((one for one in hierarchies(*texts) if one.version == 2), None)
    own = None if tree is None else tree.locate(tree.own)
    if tree is None or own is None:
        pytest.skip("no control groups of version 2 are mounted here")
    base = own / f"muxi-bare-{os.getpid()}"
    try:
        base.mkdir()
    except OSError as error:
        pytest.skip(f"no control groups of version 2 for us here ({error.strerror})")
    groups = Groups((Place(2, base, frozenset()),), "", (tree,))
    yield groups
    groups.close()
    assert not base.exists()


def test_a_real_group_of_version_2_is_killed_at_one_blow(bare: Groups) -> None:
    group = bare.make("agent-0123", LIMITS)
    assert group is not None
    code = "import os, time; input(); os.fork(); os.write(1, b'up\\n'); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            group.join(process.pid)
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert [process.stdout.readline() for _ in range(2)] == [b"up\n"] * 2
            assert len(group.processes()) == 2
            assert bare.find(process.pid, "agent-0123") is not None
            group.kill()
            assert process.wait(30) == -9
            assert process.stdout.read() == b""  # the other one has ended, too
        finally:
            with suppress(ProcessLookupError):  # else a failure would wait for it
                os.killpg(process.pid, signal.SIGKILL)
    bare.drop(group)
    deadline = time.monotonic() + 30
    while group.places[0].directory.exists():
        assert time.monotonic() < deadline
        bare.drop(group)


def test_a_real_group_is_found_again_by_its_name_and_swept_when_empty(real: Groups) -> None:
    group = real.make("agent-0123", LIMITS)
    assert group is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        group.join(process.pid)
        again = real.find(process.pid, "agent-0123")
        assert again is not None
        assert {place.directory for place in again.places} == {place.directory for place in group.places}
        assert again.holds("memory")
        assert again.oom_kills() == 0
        assert real.find(process.pid, "other-0123") is None
        assert real.find(os.getpid(), "agent-0123") is None
        assert real.sweep() == 0
        real.drop(group)  # too early
        assert all(place.directory.exists() for place in group.places)
        process.communicate(b"\n", timeout=30)
    assert real.find(process.pid, "agent-0123") is None
    assert real.sweep() == len(group.places)
    assert not any(place.directory.exists() for place in group.places)
