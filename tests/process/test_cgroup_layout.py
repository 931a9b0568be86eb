"""What control groups look like: read from the kernel's own texts, written in its own formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from muxi.process.cgroup_layout import Hierarchy, Setting, hierarchies, memberships, oom_kills, settings
from muxi.process.limits import NO_LIMITS, Limits

MODERN = "0::/system.slice/muxi.service\n"
MODERN_MOUNTS = """\
22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""
OLD = """\
12:pids:/docker/f00d
11:memory:/docker/f00d
9:cpu,cpuacct:/docker/f00d
3:cpuset:/
1:name=systemd:/docker/f00d
0::/
"""
OLD_MOUNTS = """\
31 30 0:27 /docker/f00d /sys/fs/cgroup/systemd ro - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 /docker/f00d /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/pids rw,nosuid shared:7 master:3 - cgroup cgroup rw,pids
35 30 0:31 /docker/f00d /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct
36 30 0:32 / /sys/fs/cgroup/my\\040own - cgroup2 cgroup2 rw
37 30 0:33 / /mnt/again rw - cgroup cgroup rw,memory
broken line
"""
LIMITS = Limits(memory=1024, cpu=0.25, processes=9)


def test_version_2() -> None:
    (tree,) = hierarchies(MODERN, MODERN_MOUNTS)
    assert tree == Hierarchy(2, Path("/sys/fs/cgroup"), "/", "/system.slice/muxi.service")
    assert tree.locate(tree.own) == Path("/sys/fs/cgroup/system.slice/muxi.service")


def test_both_versions_as_they_are_mounted() -> None:
    trees = {tree.mount.name: tree for tree in hierarchies(OLD, OLD_MOUNTS)}
    assert {name: (tree.version, set(tree.controllers)) for name, tree in trees.items()} == {
        "memory": (1, {"memory"}),
        "pids": (1, {"pids"}),
        "cpu,cpuacct": (1, {"cpu"}),
        "my own": (2, set()),
    }
    assert trees["memory"].locate("/docker/f00d") == Path("/sys/fs/cgroup/memory")
    assert trees["memory"].locate("/docker/f00d/a") == Path("/sys/fs/cgroup/memory/a")
    assert trees["pids"].locate("/docker/f00d") == Path("/sys/fs/cgroup/pids/docker/f00d")


def test_a_group_outside_of_the_mount_is_nowhere() -> None:
    (tree,) = hierarchies("0::/../elsewhere\n", MODERN_MOUNTS.replace("0:26 /", "0:26 /inside"))
    assert tree.locate(tree.own) is None


@pytest.mark.parametrize("texts", [("", ""), (MODERN, ""), ("", MODERN_MOUNTS), ("nonsense\n", OLD_MOUNTS)])
def test_nothing_is_found_in_nothing(texts: tuple[str, str]) -> None:
    assert hierarchies(*texts) == []


def test_memberships() -> None:
    assert memberships("9:cpu,cpuacct:/a:b\n0::/c\n") == {"cpu": "/a:b", "cpuacct": "/a:b", "": "/c"}


@pytest.mark.parametrize(
    ("version", "controller", "written"),
    [
        (2, "memory", [("memory.max", "1024", True), ("memory.swap.max", "0", False)]),
        (
            1,
            "memory",
            [("memory.limit_in_bytes", "1024", True), ("memory.memsw.limit_in_bytes", "1024", False)],
        ),
        (2, "cpu", [("cpu.max", "25000 100000", True)]),
        (1, "cpu", [("cpu.cfs_period_us", "100000", True), ("cpu.cfs_quota_us", "25000", True)]),
        (2, "pids", [("pids.max", "9", True)]),
        (1, "pids", [("pids.max", "9", True)]),
        (2, "hugetlb", []),
    ],
)
def test_limits_as_they_are_written(
    version: int, controller: str, written: list[tuple[str, str, bool]]
) -> None:
    assert settings(version, controller, LIMITS) == tuple(Setting(*one) for one in written)
    assert settings(version, controller, NO_LIMITS) == ()


def test_a_tiny_share_is_one_that_the_kernel_takes() -> None:
    assert settings(2, "cpu", Limits(cpu=0.0001))[0].value == "1000 100000"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", 7),
        ("oom_kill_disable 1\nunder_oom 0\n", 0),  # before Linux 4.13
        ("oom_kill many\n", 0),
        ("", 0),
    ],
)
def test_kills_for_want_of_memory(text: str, count: int) -> None:
    assert oom_kills(text) == count
