from __future__ import annotations

import io
import os
import socket
import tarfile
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from muxi.cli.pack import Packed, pack, walk
from muxi.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path


def packed(directory: Path) -> tuple[Packed, tarfile.TarFile]:
    target = io.BytesIO()
    facts = pack(directory, "my-agent", target)
    target.seek(0)
    return facts, tarfile.open(fileobj=target, mode="r:gz")


def make(directory: Path, *names: str) -> None:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_names_are_below_the_id_and_parents_come_first(tmp_path: Path) -> None:
    make(tmp_path, "formation.afs", "app.py", "agents/deep/a.afs")
    facts, tar = packed(tmp_path)
    with tar:
        assert tar.getnames() == [
            "my-agent/agents",
            "my-agent/agents/deep",
            "my-agent/agents/deep/a.afs",
            "my-agent/app.py",
            "my-agent/formation.afs",
        ]
        file = tar.extractfile("my-agent/agents/deep/a.afs")
        assert file is not None
        assert file.read() == b"agents/deep/a.afs"
    assert facts == Packed(files=3, size=len("formation.afsapp.pyagents/deep/a.afs"))


def test_what_is_left_out_and_what_is_kept(tmp_path: Path) -> None:
    make(
        tmp_path,
        *(
            ".git/config",
            ".muxi/x",
            "secrets",
            ".env",
            ".env.local",
            "node_modules/m/i.js",
            "a/__pycache__/b.pyc",
        ),
        *("b.pyc", ".DS_Store", "x.log", "y.tmp", ".vscode/s", ".idea/s", "memory.db", "memory.db-wal"),
        *("venv/pyvenv.cfg", "venv/lib/x.py", ".key", "secrets.enc", "MUXI.md", "log/secrets.md", ".envrc"),
    )
    names = {path.relative_to(tmp_path).as_posix() for path in walk(tmp_path)}
    assert names == {".key", "secrets.enc", "MUXI.md", "log", "log/secrets.md", ".envrc", "a"}


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path, "formation.afs", "b", "a")
    first, second = io.BytesIO(), io.BytesIO()
    pack(tmp_path, "x-1", first)
    pack(tmp_path, "x-1", second)
    assert first.getvalue() == second.getvalue()


def test_members_say_nothing_of_their_owner(tmp_path: Path) -> None:
    make(tmp_path, "formation.afs")
    _, tar = packed(tmp_path)
    with tar:
        member = tar.getmember("my-agent/formation.afs")
    assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")


def test_a_program_stays_executable(tmp_path: Path) -> None:
    make(tmp_path, "run")
    (tmp_path / "run").chmod(0o755)
    _, tar = packed(tmp_path)
    with tar:
        assert tar.getmember("my-agent/run").mode & 0o111


def test_a_hard_link_is_packed_as_a_file(tmp_path: Path) -> None:
    make(tmp_path, "a")
    os.link(tmp_path / "a", tmp_path / "b")
    _, tar = packed(tmp_path)
    with tar:
        assert [member.isreg() for member in tar.getmembers()] == [True, True]
        file = tar.extractfile("my-agent/b")
        assert file is not None
        assert file.read() == b"a"


@pytest.mark.parametrize("target", ["app.py", "/etc/passwd", "missing", "."])
def test_a_symbolic_link_is_refused_by_name(tmp_path: Path, target: str) -> None:
    make(tmp_path, "app.py")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(RequestError, match="link is a symbolic link") as caught:
        pack(tmp_path, "my-agent", io.BytesIO())
    assert caught.value.cure


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        with pytest.raises(RequestError, match="neither a file nor a directory"):
            list(walk(tmp_path))


def test_a_link_in_what_is_left_out_does_not_matter(tmp_path: Path) -> None:
    make(tmp_path, "formation.afs", "node_modules/.bin/x")
    (tmp_path / "node_modules" / "link").symlink_to("/")
    assert [path.name for path in walk(tmp_path)] == ["formation.afs"]


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    source = tmp_path / "in"
    make(source, "formation.afs")
    with (source / "big").open("wb") as file:
        file.truncate(size)
    with (tmp_path / "out").open("wb") as target:
        tracemalloc.start()
        try:
            facts = pack(source, "my-agent", target)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert facts.size > size
    assert peak < size // 8
