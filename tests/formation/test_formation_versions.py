from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.errors import RequestError
from muxi.formation.versions import (
    FILE_NAME,
    VersionEntry,
    VersionFile,
    committed,
    load,
    numbers,
    receipts,
    rolled_back,
    save,
)
from muxi.registry.receipts import Receipt

if TYPE_CHECKING:
    from pathlib import Path


def entry(number: int) -> VersionEntry:
    return VersionEntry(version=number, deployed_at="2026-01-01T00:00:00+00:00", bundle_hash=f"h{number}")


def test_the_paths_follow_the_places() -> None:
    found: VersionFile | None = None
    for number in (1, 2, 3, 4):
        found = committed(found, entry(number), keep=2)
    assert found is not None
    assert [(one.version, one.backup_path) for one in found.entries] == [
        (4, "current"),
        (3, "previous"),
        (2, "releases/2"),
    ]
    assert (found.current_version, found.previous_version) == (4, 3)
    back = rolled_back(found, 2)
    assert [(one.version, one.backup_path) for one in back.entries] == [
        (2, "current"),
        (4, "previous"),
        (3, "releases/3"),
    ]


STEPS = st.lists(st.one_of(st.just("commit"), st.just("back"), st.integers(1, 12)), max_size=30)


@given(STEPS, st.integers(1, 4))
def test_whatever_is_done_the_file_is_sound(steps: list[str | int], keep: int) -> None:
    found: VersionFile | None = None
    last = 0
    for step in steps:
        before = found
        if step == "commit":
            last = max(numbers(found), default=0) + 1
            found = committed(found, entry(last), keep)
            assert found.current_version == last
            assert found.previous_version == (None if before is None else before.current_version)
        else:
            try:
                found = rolled_back(found, None if step == "back" else int(step))
            except RequestError:
                continue
            assert before is not None
            assert found.previous_version == before.current_version
            assert set(numbers(found)) == set(numbers(before))
        assert len(set(numbers(found))) == len(numbers(found)) <= keep + 1
        assert last in numbers(found)  # so a number is never given twice


@given(STEPS)
def test_rolling_back_twice_rolls_forward(steps: list[str | int]) -> None:
    found = committed(committed(None, entry(1), 3), entry(2), 3)
    for step in steps:
        if step == "commit":
            found = committed(found, entry(max(numbers(found)) + 1), 3)
    assert rolled_back(rolled_back(found)) == found


def test_the_same_commit_again_changes_nothing() -> None:
    found = committed(committed(None, entry(1)), entry(2))
    assert committed(found, entry(2)) == found


def test_each_commit_has_the_receipt_of_its_own_request(tmp_path: Path) -> None:
    def receipt(name: str) -> Receipt:
        return Receipt(name=name, asked="", kind="", formation_id="x", operation_id="y", at=1.0, result={})

    first = committed(None, entry(1), receipt=receipt("a"))
    second = committed(first, entry(2))
    back = rolled_back(second, receipt=receipt("b"))
    assert [found.receipt for found in (first, second, back)] == [receipt("a"), None, receipt("b")]
    for name, content in {"one": first, "two": second, "three": back}.items():
        (tmp_path / name).mkdir()
        save(tmp_path / name, content)
        assert load(tmp_path / name) == content
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / FILE_NAME).write_text("{")
    (tmp_path / "no-formation").mkdir()
    (tmp_path / "a-file").touch()
    assert {found.name for found in receipts(tmp_path)} == {"a", "b"}


def test_there_is_nothing_to_roll_back_to() -> None:
    for found in (None, committed(None, entry(1))):
        with pytest.raises(RequestError, match="no previous version"):
            rolled_back(found)


def test_a_delete_counts_once_the_files_are_gone_and_other_orders_at_once(tmp_path: Path) -> None:
    def receipt(kind: str, formation_id: str) -> Receipt:
        return Receipt(
            name=f"{kind}-{formation_id}",
            asked="",
            kind=kind,
            formation_id=formation_id,
            operation_id="y",
            at=1,
        )

    (tmp_path / "there").mkdir()
    save(tmp_path / "there", committed(None, entry(1)))
    ordered = [receipt(kind, one) for kind in ("delete", "stop") for one in ("there", "gone")]
    found = receipts(tmp_path, ordered)
    assert {one.name for one in found} == {"delete-gone", "stop-there", "stop-gone"}
