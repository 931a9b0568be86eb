from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.cli.sse import MAX_LINE, ServerEvent, read_events
from muxi.errors import OperatorError


def test_events_comments_and_unknown_fields() -> None:
    body = (
        b': hello\n\nid: 7\nretry: 10\nevent: progress\ndata: {"stage":"extracting"}\n\n'
        b': keep-alive\n\nevent:complete\ndata:{"port":8001}\n\n'
    )
    assert list(read_events([body])) == [
        ServerEvent("progress", {"stage": "extracting"}),
        ServerEvent("complete", {"port": 8001}),
    ]


def test_carriage_returns_and_several_data_lines() -> None:
    body = b'event: log\r\ndata: {"line":\r\ndata: "x"}\r\n\r\n'
    assert list(read_events([body])) == [ServerEvent("log", {"line": "x"})]


def test_a_name_holds_for_one_event_only() -> None:
    events = list(read_events([b'event: log\ndata: {}\n\ndata: {"a": 1}\n\n']))
    assert [event.name for event in events] == ["log", "message"]


def test_an_event_without_data_is_none() -> None:
    assert list(read_events([b"event: log\n\n"])) == []


def test_what_the_end_cuts_off_is_dropped() -> None:
    assert list(read_events([b'data: {"a": 1}\n\ndata: {"b": 2}\n'])) == [ServerEvent("message", {"a": 1})]


def test_an_event_is_seen_before_the_next_chunk_is_asked_for() -> None:
    def chunks() -> object:
        yield b'data: {"a": 1}\n\n'
        raise AssertionError("asked for more")

    assert next(read_events(chunks())).data == {"a": 1}  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"[1]", b"nonsense", b'"text"', b"\xff"])
def test_data_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(OperatorError, match="not a JSON object"):
        list(read_events([b"data: " + data + b"\n\n"]))


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(OperatorError, match="without an end"):
        list(read_events(b"x" * 65536 for _ in range(MAX_LINE // 65536 + 2)))


def test_text_of_a_value() -> None:
    event = ServerEvent("progress", {"attempt": 3, "none": None})
    assert (event.text("attempt"), event.text("none"), event.text("absent")) == ("3", "", "")


@given(
    values=st.lists(st.dictionaries(st.text(), st.text() | st.integers())),
    cut=st.integers(1, 7),
    ascii_only=st.booleans(),
)
def test_any_chunking_gives_the_same_events(
    values: list[dict[str, object]], cut: int, ascii_only: bool
) -> None:
    body = b"".join(
        f"event: e{i}\ndata: {json.dumps(value, ensure_ascii=ascii_only)}\n\n".encode()
        for i, value in enumerate(values)
    )
    pieces = [body[i : i + cut] for i in range(0, len(body), cut)]
    assert list(read_events(pieces)) == [ServerEvent(f"e{i}", value) for i, value in enumerate(values)]
