from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.process.log_mark import MARK_SIZE, Mark, look, parse, stamp

if TYPE_CHECKING:
    from pathlib import Path

POSITIONS = st.integers(0, 10**16 - 1)


@given(POSITIONS, POSITIONS, st.integers(MARK_SIZE, 5000))
def test_a_mark_is_one_line_and_is_read_from_its_first_bytes(base: int, valid: int, size: int) -> None:
    line = Mark(base, valid).encode(size)
    assert len(line) == size
    assert line.index(b"\n") == size - 1
    assert parse(line[:MARK_SIZE]) == Mark(base, valid)


@given(st.integers(1, MARK_SIZE - 2), st.integers(1, MARK_SIZE - 2))
def test_a_mark_that_is_half_another_one_is_none(one: int, other: int) -> None:
    first, second = Mark(0, 4096).encode(), Mark(99999, 123456789).encode()
    mixed = first[: min(one, other)] + second[min(one, other) :]
    assert parse(mixed) in (None, Mark(0, 4096), Mark(99999, 123456789))
    assert parse(first[:one]) in (None, Mark(0, 4096))


@pytest.mark.parametrize("head", [b"", b"a line\n", bytes(MARK_SIZE), Mark(5, 500).encode()[1:]])
def test_what_a_process_writes_is_no_mark(head: bytes) -> None:
    assert parse(head) is None


def test_a_file_cut_off_behind_its_mark_begins_again_there() -> None:
    mark = Mark(1000, 9000)
    assert mark.fit(8000) is mark
    assert mark.fit(300) == Mark(9000 - MARK_SIZE, 9000)


def test_a_stamp_changes_the_top_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1000)
    with path.open("r+b") as file:
        assert look(file.fileno()) == (None, 1000)
        stamp(file.fileno(), Mark(0, 500))
        assert look(file.fileno()) == (Mark(0, 500), 1000)
    assert path.read_bytes()[MARK_SIZE:] == b"x" * (1000 - MARK_SIZE)
