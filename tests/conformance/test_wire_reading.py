"""The strict readers are strict: what would break a Go client fails a test."""

from __future__ import annotations

import pytest

from tests.conformance.wire import decode, events


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"port": 8000.0}, {"port": int}),
        ({"port": True}, {"port": int}),
        ({"port": "8000"}, {"port": int}),
        ({"port": None}, {"port": int}),
        ({}, {"port": int}),
        ({"version": "1.0.0"}, {"version": {"semantic": str}}),
        ({"version": {"semantic": "1.0.0"}}, {"version": str}),
        ({"lines": ["a", 1]}, {"lines": [str]}),
        ({"lines": None}, {"lines": [str]}),
    ],
)
def test_another_type_or_a_missing_field_fails(value: object, shape: object) -> None:
    with pytest.raises(AssertionError):
        decode(value, shape)


def test_the_right_types_pass() -> None:
    decode({"port": 1, "lines": ["a"], "more": None}, {"port": int, "lines": [str]})


@pytest.mark.parametrize(
    "lines",
    [
        ["data: {}\n", "\n"],
        ["event: log\n", "data: {}\n"],
        ["event: log\n", "data: {}\n", "data: {}\n", "\n"],
        ["event: log\n", "data: {\n", "\n"],
        ["id: 7\n", "\n"],
    ],
)
def test_an_event_that_a_client_would_lose_fails(lines: list[str]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        list(events(lines))


def test_events_and_comments_between_them() -> None:
    lines = [": keep-alive\n", "\n", "event: log\n", 'data: {"line": "a"}\n', "\n", ": keep-alive\n", "\n"]
    assert list(events(lines)) == [("log", {"line": "a"})]
