from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muxi.config.model import BundleLimits
from muxi.errors import BundleError
from muxi.formation.members import MemberPolicy, Placement, file_mode
from muxi.formation.tar import Member
from tests.formation.hostile import refusal


def judge(name: str, *, kind: str = "file", size: int = 0, mode: int = 0o644) -> Placement | None:
    return MemberPolicy(BundleLimits()).judge(Member(name, kind, size, mode))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", "a"),
        ("./a", "a"),
        ("a//b", "a/b"),
        ("././a/./b", "a/b"),
        ("a/...", "a/..."),
        ("..a/b..", "..a/b.."),
        ("caf\u00e9/\u65e5\u672c", "caf\u00e9/\u65e5\u672c"),
        (" ", " "),
        ("ab:c", "ab:c"),
    ],
)
def test_names_that_are_taken(name: str, path: str) -> None:
    assert judge(name) == Placement(path, False, 0o644)


@pytest.mark.parametrize("name", [".", "./", "././", ""])
def test_the_top_directory_itself_is_passed_over(name: str) -> None:
    assert judge(name, kind="directory") is None


def test_directories_may_be_named_often_and_after_their_files() -> None:
    policy = MemberPolicy(BundleLimits())
    for name, kind in (("d/", "directory"), ("d/f", "file"), ("d", "directory"), ("./d/", "directory")):
        policy.judge(Member(name, kind, 0, 0o755))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "mode", "expected"),
    [
        ("run", 0o755, 0o755),
        ("run", 0o4711, 0o755),
        ("run", 0o7777, 0o755),
        ("run", 0o100, 0o755),
        ("text", 0o000, 0o644),
        ("text", 0o666, 0o644),
        ("text", 0o011, 0o644),
        (".key", 0o777, 0o600),
        ("secrets.enc", 0o644, 0o600),
        ("a/.env", 0o644, 0o600),
        (".env.local", 0o644, 0o600),
        (".environment", 0o644, 0o644),
        ("my.key", 0o644, 0o644),
    ],
)
def test_modes(path: str, mode: int, expected: int) -> None:
    assert file_mode(path, mode) == expected


@settings(deadline=None)
@given(st.text(max_size=40), st.sampled_from(["file", "directory"]))
def test_no_name_leads_out(name: str, kind: str) -> None:
    placements: list[Placement | None] = []
    refusal(lambda: placements.append(judge(name, kind=kind)))
    for placement in filter(None, placements):
        parts = placement.path.split("/")
        assert not placement.path.startswith("/")
        assert all(part not in {"", ".", ".."} for part in parts)
        assert not {"\\", "\0", "\n"} & set(placement.path)


def test_a_refusal_names_the_member_and_a_cure() -> None:
    with pytest.raises(BundleError) as caught:
        judge("bin/link", kind="symbolic link")
    error = caught.value
    assert (error.status, error.code, error.stage) == (400, "ExtractError", "extracting")
    assert error.message.startswith("Failed to extract bundle: 'bin/link' is a symbolic link;")
    assert error.details == {"member": "bin/link"}
    assert error.cure


LIMITS = BundleLimits(max_upload_size=1, max_members=3, max_file_size=10, max_total_size=15, max_ratio=2)


@pytest.mark.parametrize(
    ("sizes", "limit"),
    [([0, 0, 0, 0], "max_members"), ([11], "max_file_size"), ([10, 5, 1], "max_total_size")],
)
def test_each_limit_refuses_the_first_member_beyond_it(sizes: list[int], limit: str) -> None:
    policy = MemberPolicy(LIMITS)
    for number, size in enumerate(sizes[:-1]):
        assert policy.judge(Member(str(number), "file", size, 0))
    with pytest.raises(BundleError) as caught:
        policy.judge(Member("last", "file", sizes[-1], 0))
    assert caught.value.cure is not None
    assert f"formations.bundle.{limit}" in caught.value.cure
    assert caught.value.details == {"member": "last"}


def test_directories_that_no_member_names_count_as_well() -> None:
    policy = MemberPolicy(LIMITS)
    policy.judge(Member("a/b/c", "file", 0, 0))
    with pytest.raises(BundleError, match="makes more than 3 files and directories"):
        policy.judge(Member("a/b/d", "file", 0, 0))


def test_a_hundred_thousand_members_are_one_too_many() -> None:
    policy = MemberPolicy(BundleLimits(max_members=100_000))
    for _ in range(100_000):
        policy.judge(Member("d/", "directory", 0, 0o755))
    with pytest.raises(BundleError, match="more than 100,000 members"):
        policy.judge(Member("d/", "directory", 0, 0o755))
