from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.containers.frames import Entry, Frames, nanoseconds, since


def frame(stream: int, payload: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


STREAM = (
    frame(1, b"2026-11-25T16:49:05.998835389Z app started\n")
    + frame(2, b"2026-11-25T16:49:05.998835390Z oh: no\n")
    + frame(1, b"2026-11-25T16:49:06Z \n")
)
AT = 1_795_625_345_998_835_389
ENTRIES = [
    Entry(False, AT, b"app started\n"),
    Entry(True, AT + 1, b"oh: no\n"),
    Entry(False, 1_795_625_346 * 10**9, b"\n"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_way_to_cut_the_bytes_gives_the_same_entries(cuts: list[int]) -> None:
    frames, start = Frames(), 0
    found: list[Entry] = []
    for end in [*sorted(cuts), len(STREAM)]:
        found += frames.feed(STREAM[start:end])
        start = end
    assert found == ENTRIES


@pytest.mark.parametrize("data", [b"HTTP/1.1 500 Oops", frame(1, b"")[:4] + b"\xff\xff\xff\xff"])
def test_another_stream_is_found_out(data: bytes) -> None:
    with pytest.raises(ValueError, match="frames"):
        list(Frames().feed(data))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T00:00:01.5Z", 15 * 10**8),
        ("1970-01-01T01:00:00.000000001+01:00", 1),
        ("2026-11-25T16:49:05.998835389Z", AT),
        ("0001-01-01T00:00:00Z", 0),  # "never"
    ],
)
def test_times_are_exact(text: str, wanted: int) -> None:
    assert nanoseconds(text) == wanted


def test_since_is_written_as_the_engine_reads_it() -> None:
    assert since(AT) == "1795625345.998835389"
    assert since(5) == "0.000000005"
