from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from muxi.process import procfs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(procfs, "PROC", tmp_path)
    (tmp_path / "42").mkdir()
    return tmp_path / "42"


@pytest.mark.parametrize("name", ["python3", "a b", "evil) S 1 (x", "ü\n)"])
def test_stat_is_read_whatever_the_program_is_called(proc: Path, name: str) -> None:
    fields = ["T", "3", "7", "8", *["0"] * 7, "100", "20", "3", "4", *["0"] * 4, "987654", "0"]
    (proc / "stat").write_text(f"42 ({name}) {' '.join(fields)}\n")
    assert procfs.read_stat(42) == procfs.Stat(
        state="T", parent=3, group=7, cpu_ticks=127, start_ticks=987654
    )


@pytest.mark.parametrize(
    ("state", "alive"), [("R", True), ("S", True), ("D", True), ("Z", False), ("X", False)]
)
def test_zombies_are_not_alive(state: str, alive: bool) -> None:
    assert procfs.Stat(state, 1, 1, 1, 1).alive is alive


def test_token_is_found_whole_and_hashed(proc: Path) -> None:
    (proc / "environ").write_bytes(b"X=MUXI_INSTANCE_TOKEN=no\0MUXI_INSTANCE_TOKEN=a=b\0Y=1\0")
    assert procfs.token_sha256(42) == procfs.hash_token(b"a=b")


def test_no_token_no_process(proc: Path) -> None:
    (proc / "environ").write_bytes(b"PATH=/bin\0")
    assert procfs.token_sha256(42) is None
    assert procfs.token_sha256(43) is None
    assert procfs.read_stat(43) is None


def test_only_numbers_are_processes(proc: Path) -> None:
    (proc.parent / "self").mkdir()
    assert procfs.pids() == [42]


def test_our_own_process_is_seen_as_it_is() -> None:
    stat = procfs.read_stat(os.getpid())
    assert stat is not None
    assert stat.alive
    assert stat.group == os.getpgid(0)
    assert stat.parent == os.getppid()
    assert os.getpid() in procfs.pids()
    assert len(procfs.boot_id() or "") == 36
