from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.download.checksums import read_published
from muxi.download.failure import Interrupted
from muxi.download.progress import INTERVAL, Meter, Progress
from muxi.download.ranges import Changed, Origin, range_fields, read_answer

URL = "https://example.com/a"
HERE = Origin(url=URL, etag='"e1"', modified="Mon, 01 Jan 2024 00:00:00 GMT", size=1000)


@pytest.mark.parametrize(
    ("origin", "offset", "verified", "fields"),
    [
        (None, 0, True, {}),
        (HERE, 0, True, {}),
        (HERE, 10, False, {"Range": "bytes=10-", "If-Range": '"e1"'}),
        (
            Origin(url=URL, etag='W/"e1"', modified="then"),
            10,
            False,
            {"Range": "bytes=10-", "If-Range": "then"},
        ),
        (Origin(url=URL, etag='W/"e1"'), 10, False, {}),
        (Origin(url=URL), 10, True, {"Range": "bytes=10-"}),
    ],
)
def test_what_is_asked(*, origin: Origin | None, offset: int, verified: bool, fields: dict[str, str]) -> None:
    assert range_fields(origin, offset, verified=verified) == fields


def test_a_whole_body_is_a_new_beginning() -> None:
    body = read_answer(URL, 200, {"content-length": "50", "etag": '"e2"'}, HERE, 10)
    assert body is not None
    assert (body.start, body.total, body.origin.etag, body.origin.size) == (0, 50, '"e2"', 50)


def test_the_rest_goes_on() -> None:
    body = read_answer(
        URL, 206, {"content-range": "bytes 10-999/1000", "content-length": "990", "etag": '"e1"'}, HERE, 10
    )
    assert body is not None
    assert (body.start, body.total, body.origin) == (10, 1000, HERE)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"content-range": "bytes 0-999/1000"},
        {"content-range": "bytes 11-999/1000"},
        {"content-range": "bytes 10-999/2000"},
        {"content-range": "bytes 10-500/1000"},
        {"content-range": "bytes */1000"},
        {"content-range": "pages 10-999/1000"},
        {"content-range": "bytes 10-999/1000", "etag": '"e2"'},
        {"content-range": "bytes 10-999/1000", "content-length": "5"},
        {"content-range": "bytes " + "9" * 50 + "-999/1000"},
    ],
)
def test_a_rest_that_does_not_fit_is_thrown_away(fields: dict[str, str]) -> None:
    with pytest.raises(Changed):
        read_answer(URL, 206, fields, HERE, 10)


def test_a_part_that_nobody_asked_for() -> None:
    with pytest.raises(Changed):
        read_answer(URL, 206, {"content-range": "bytes 0-9/10"}, None, 0)


@pytest.mark.parametrize(
    ("content_range", "offset", "whole"),
    [
        ("bytes */1000", 1000, True),
        ("bytes */1000", 10, False),
        ("bytes */2000", 2000, False),
        ("", 1000, False),
    ],
)
def test_nothing_after_what_is_here(*, content_range: str, offset: int, whole: bool) -> None:
    fields = {"content-range": content_range}
    if whole:
        assert read_answer(URL, 416, fields, HERE, offset) is None
    else:
        with pytest.raises(Changed):
            read_answer(URL, 416, fields, HERE, offset)


@given(
    st.sampled_from([200, 206, 416]),
    st.dictionaries(
        st.sampled_from(["content-range", "content-length", "etag", "content-encoding", "transfer-encoding"]),
        st.text(max_size=30) | st.sampled_from(["bytes 10-999/1000", "990", '"e1"', "identity", "chunked"]),
    ),
)
def test_whatever_a_server_says_is_a_body_or_a_reason(status: int, fields: dict[str, str]) -> None:
    try:
        body = read_answer(URL, status, fields, HERE, 10)
    except Interrupted:
        return
    assert body is not None
    assert body.start in {0, 10}
    assert body.start == 0 or body.total == 1000


HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HASH, HASH),
        (f"{HASH.upper()}\n", HASH),
        (f"sha256:{HASH}", HASH),
        (f"{HASH}  a.sif\n", HASH),
        (f"{HASH} *dist/a.sif\n", HASH),
        (f"{'f' * 64}  b.sif\n{HASH}  a.sif\n", HASH),
        (f"{HASH}  b.sif\n", None),
        ("<html>not found</html>", None),
        (HASH[:-1], None),
        ("", None),
    ],
)
def test_published_checksums(text: str, found: str | None) -> None:
    assert read_published(text, "a.sif") == found


def test_progress_is_told_a_few_times_a_second_and_at_the_end() -> None:
    now, told = [100.0], list[Progress]()
    meter = Meter(URL, told.append, lambda: now[0])
    meter.begin(500, 1000)
    for done in range(500, 1000, 10):
        now[0] += INTERVAL / 10
        meter.count(done, 1000)
    meter.end(1000)
    assert len(told) == 7
    assert [progress.percent for progress in told][-1] == 100
    assert told[0].rate == 0
    assert told[3].rate == pytest.approx(10 / (INTERVAL / 10), rel=0.1)


@given(st.integers(0, 10**15), st.none() | st.integers(0, 10**15))
def test_percents_are_whole_and_never_too_many(done: int, total: int | None) -> None:
    percent = Progress(URL, done, total, 0.0).percent
    assert percent is None or 0 <= percent <= 100
    assert (percent is None) == (not total)
