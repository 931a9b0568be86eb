from __future__ import annotations

import errno
import os
import stat
import subprocess
import tarfile
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muxi.config.model import BundleLimits
from muxi.errors import BundleError, StorageError
from muxi.formation import bundle as bundle_module
from muxi.formation.bundle import Bundle, extract
from tests.formation.hostile import (
    END,
    GOOD,
    HOSTILE,
    MANIFEST,
    block,
    member,
    packed,
    pax,
    record,
    refusal,
    tar_gz,
    write_zeros_bomb,
)

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = BundleLimits()
FILES = {"formation.yaml": MANIFEST, "app.py": b"print()\n", "agents/one.afs": b"id: one\n"}


def nothing(*_: object) -> None:
    pass


def run(directory: Path, data: bytes, limits: BundleLimits = LIMITS) -> Bundle:
    (directory / "bundle.tar.gz").write_bytes(data)
    return extract(directory / "bundle.tar.gz", directory / "out", limits, nothing, nothing)


def tree(root: Path) -> dict[str, bytes | None]:
    """Everything below a directory: contents of files, None for directories."""
    return {
        path.relative_to(root).as_posix(): None
        if path.is_dir() and not path.is_symlink()
        else path.read_bytes()
        for path in root.rglob("*")
    }


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def files_of(root: Path) -> dict[str, bytes | None]:
    return {name: content for name, content in tree(root).items() if content is not None}


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bomb") / "bomb.tar.gz"
    write_zeros_bomb(path, 10 * 1024**3)
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    data, said = HOSTILE[name]
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "bundle.tar.gz").write_bytes(data)
    before = tree(tmp_path)
    with pytest.raises(BundleError) as caught:
        extract(inner / "bundle.tar.gz", inner / "out", LIMITS, nothing, nothing)
    error = caught.value
    assert error.message.startswith("Failed to extract bundle: ")
    assert said in error.message
    assert (error.status, error.code, error.stage) == (400, "ExtractError", "extracting")
    assert "\x1b" not in error.message
    assert len(error.message) < 400
    assert tree(tmp_path) == before


def test_a_bomb_is_refused_before_it_has_written_much(
    tmp_path: Path, bomb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    write = os.write

    def counting(fd: int, data: bytes) -> int:
        nonlocal written
        written += len(data)
        return write(fd, data)

    monkeypatch.setattr(os, "write", counting)
    limits = BundleLimits(max_file_size=2**40, max_total_size=2**40)
    with pytest.raises(BundleError, match="200 times its size"):
        extract(bomb, tmp_path / "out", limits, nothing, nothing)
    assert written < 16 * 1024 * 1024
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused_by_the_size_it_states(tmp_path: Path, bomb: Path) -> None:
    with pytest.raises(BundleError, match="'zeros' has 10,737,418,240 bytes"):
        extract(bomb, tmp_path / "out", LIMITS, nothing, nothing)


def test_one_member_too_many(tmp_path: Path) -> None:
    data = packed(GOOD, *(member(b"%d" % number) for number in range(1000)))
    with pytest.raises(BundleError, match="more than 1,000 members"):
        run(tmp_path, data, BundleLimits(max_members=1000))
    assert not (tmp_path / "out").exists()
    assert run(tmp_path, data, BundleLimits(max_members=1001)).members == 1001


@pytest.mark.parametrize("top", ["", "hello/", "./", "any-name/"])
@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_layout_gives_the_same_tree(tmp_path: Path, top: str, format_: int) -> None:
    bundle = run(tmp_path, tar_gz(FILES, top=top, format_=format_))
    assert bundle.root == tmp_path / "out"
    assert files_of(bundle.root) == FILES
    assert bundle.members == 3
    assert bundle.total_size == sum(map(len, FILES.values()))
    assert names(tmp_path) == {"bundle.tar.gz", "out"}


def test_the_layout_of_git_archive(tmp_path: Path) -> None:
    header = pax(record(b"comment", b"0123456789abcdef"), kind=b"g")
    data = packed(header, member(b"hello/", kind=b"5"), member(b"hello/formation.yaml", MANIFEST))
    assert tree(run(tmp_path, data).root) == {"formation.yaml": MANIFEST}


def test_the_layout_of_the_cli(tmp_path: Path) -> None:
    # no entry for the top directory, directories without a slash at the end
    data = packed(
        member(b"hello/agents", kind=b"5", mode=0o755),
        member(b"hello/agents/one.afs", b"id: one\n"),
        member(b"hello/formation.afs", MANIFEST),
        member(b"hello/.key", b"k", mode=0o644),
    )
    root = run(tmp_path, data).root
    assert set(tree(root)) == {"agents", "agents/one.afs", "formation.afs", ".key"}


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["formation.yaml", "agents/a"], ["formation.yaml", "agents", "agents/a"]),  # flat
        (["x/formation.yaml", "y/a"], ["x", "x/formation.yaml", "y", "y/a"]),  # two tops: as it is
        (["x/formation.yaml", "a"], ["x", "x/formation.yaml", "a"]),
        (["x/y/formation.yaml"], ["y", "y/formation.yaml"]),  # one level only
        (["formation.yaml"], ["formation.yaml"]),
        (["app.py"], ["app.py"]),
        (["x/x/a", "x/b"], ["x", "x/a", "b"]),
    ],
)
def test_the_top_directory_is_taken_away_only_when_all_is_below_it(
    tmp_path: Path, names: list[str], kept: list[str]
) -> None:
    assert sorted(tree(run(tmp_path, tar_gz(dict.fromkeys(names, b"1"))).root)) == sorted(kept)


def test_the_system_s_tar(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "agents").mkdir(parents=True)
    for name, content in FILES.items():
        (source / name).write_bytes(content)
    (source / ("long-" * 40)).write_bytes(b"x")
    subprocess.run(["tar", "-czf", tmp_path / "b.tar.gz", "-C", source, "."], check=True)
    bundle = extract(tmp_path / "b.tar.gz", tmp_path / "out", LIMITS, nothing, nothing)
    assert files_of(bundle.root) == files_of(source)


def test_modes_are_plain_whatever_the_archive_and_the_umask_say(tmp_path: Path) -> None:
    data = packed(
        member(b"formation.yaml", MANIFEST, mode=0o000),
        member(b"run", mode=0o6755),
        member(b".key", mode=0o777),
        member(b"secrets.enc", mode=0o666),
        member(b"d", kind=b"5", mode=0o000),
        member(b"d/f", mode=0o777),
    )
    old = os.umask(0o077)
    try:
        root = run(tmp_path, data).root
    finally:
        os.umask(old)
    modes = {path.relative_to(root).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert modes == {
        "formation.yaml": 0o644,
        "run": 0o755,
        ".key": 0o600,
        "secrets.enc": 0o600,
        "d": 0o755,
        "d/f": 0o755,
    }
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def content_hash(directory: Path, data: bytes) -> str:
    bundle = run(directory, data)
    for path in sorted(bundle.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    bundle.root.rmdir()
    return bundle.content_hash


def test_the_content_hash_is_that_of_the_content(tmp_path: Path) -> None:
    reference = content_hash(tmp_path, tar_gz(FILES))
    backwards = dict(reversed(FILES.items()))
    with_directory = {"agents/": b"", **FILES}
    for same in (
        tar_gz(FILES, top="other/"),
        tar_gz(FILES, top="./", format_=tarfile.GNU_FORMAT),
        tar_gz(backwards),
        tar_gz(with_directory),
    ):
        assert content_hash(tmp_path, same) == reference
    executable = packed(*(member(name.encode(), text, mode=0o755) for name, text in FILES.items()))
    for other in (
        tar_gz({**FILES, "app.py": b"print(1)\n"}),
        tar_gz({**FILES, "more": b""}),
        tar_gz({**FILES, "empty/": b""}),
        tar_gz({name: text for name, text in FILES.items() if name != "app.py"}),
        executable,
    ):
        assert content_hash(tmp_path, other) != reference


SAFE = st.characters(codec="utf-8", exclude_characters="/\\:", exclude_categories=("Cc", "Cs", "Cn", "Co"))
PARTS = st.text(SAFE, min_size=1, max_size=12).filter(lambda part: part not in {".", ".."})


def fold(path: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def without_conflicts(entries: list[tuple[list[str], bytes]]) -> dict[str, bytes]:
    """Keep of the entries those that can stand beside each other on any disk."""
    taken: dict[str, tuple[str, bool]] = {}
    kept: dict[str, bytes] = {}
    for parts, content in entries:
        steps = {"/".join(parts[: n + 1]): n < len(parts) - 1 for n in range(len(parts))}
        fits = all(taken.get(fold(step), (step, kind)) == (step, kind) for step, kind in steps.items())
        if fits and "/".join(parts) not in kept:
            taken.update({fold(step): (step, kind) for step, kind in steps.items()})
            kept["/".join(parts)] = content
    return kept


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(PARTS, min_size=1, max_size=4), st.binary(max_size=2000)), min_size=1, max_size=8
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from(["", "./", "top/"]),
)
def test_any_tree_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[tuple[list[str], bytes]],
    format_: int,
    top: str,
) -> None:
    files = {"formation.yaml": MANIFEST, **without_conflicts([(["formation.yaml"], b""), *entries])}
    bundle = run(tmp_path_factory.mktemp("tree"), tar_gz(files, format_=format_, top=top))
    assert files_of(bundle.root) == files


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400), st.data())
def test_damage_gives_a_bundle_or_a_bundle_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, data: st.DataObject
) -> None:
    good = bytearray(GOOD + member(b"a/b", b"content") + END)
    for _ in range(data.draw(st.integers(0, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    at = data.draw(st.integers(0, len(good)))
    for candidate in (noise, packed(noise), packed(bytes(good[:at]), noise), packed(bytes(good))):
        directory = tmp_path_factory.mktemp("damage")
        error = refusal(run, directory, candidate)
        assert names(directory) == {"bundle.tar.gz", *(("out",) if error is None else ())}


class Stop(BaseException):
    """What trio raises is no Exception either."""


@pytest.mark.parametrize("when", [1, 3, 10])
def test_a_cancellation_leaves_nothing(tmp_path: Path, when: int) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == when:
            raise Stop

    (tmp_path / "b").write_bytes(tar_gz({**FILES, "big": os.urandom(100_000)}))
    with pytest.raises(Stop):
        extract(tmp_path / "b", tmp_path / "out", LIMITS, nothing, check)
    assert names(tmp_path) == {"b"}


def test_progress_is_reported_up_to_the_whole_file(tmp_path: Path) -> None:
    data = tar_gz({**FILES, "big": os.urandom(100_000)})
    (tmp_path / "b").write_bytes(data)
    seen: list[int] = []
    extract(tmp_path / "b", tmp_path / "out", LIMITS, seen.append, nothing)
    assert seen == sorted(seen)
    assert seen[-1] == len(data)
    assert len(seen) > 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_or_failing_disk_is_not_the_bundle_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    (tmp_path / "b").write_bytes(tar_gz(FILES))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError) as caught:
        extract(tmp_path / "b", tmp_path / "out", LIMITS, nothing, nothing)
    assert (caught.value.status, caught.value.stage) == (507, "extracting")
    assert os.strerror(number) in caught.value.message
    assert caught.value.cure
    assert names(tmp_path) == {"b"}


def test_a_name_the_disk_refuses_is_the_bundle_s_fault(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["p" * 200] * 16)
    deep.mkdir(parents=True)
    data = packed(GOOD, member(b"L", b"/".join([b"n" * 200] * 5), kind=b"L"), block(b"x"))
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(BundleError, match="can't be a file name here"):
        extract(tmp_path / "b", deep / "out", LIMITS, nothing, nothing)
    assert not any(deep.iterdir())


def test_what_stands_at_the_destination_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    with pytest.raises(StorageError):
        run(tmp_path, tar_gz(FILES))
    assert (tmp_path / "out" / "mine").read_text() == "keep"


def test_a_failure_in_the_last_step_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "rmdir", refuse)  # while the top directory is lifted
    monkeypatch.setattr(
        bundle_module, "remove_tree", lambda path: subprocess.run(["rm", "-r", path], check=True)
    )
    (tmp_path / "b").write_bytes(tar_gz(FILES, top="hello/"))
    with pytest.raises(StorageError, match="Input/output error"):
        extract(tmp_path / "b", tmp_path / "out", LIMITS, nothing, nothing)
    assert names(tmp_path) == {"b"}
