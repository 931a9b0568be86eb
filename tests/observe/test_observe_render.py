from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from muxi.observe.render import json_line, text_line
from muxi.timestamps import rfc3339

EVENT = {"port": 8001, "event": "started", "level": "info", "time": "T", "note": "two words"}


def test_json_has_time_level_and_event_first() -> None:
    assert json_line(EVENT) == '{"time":"T","level":"info","event":"started","port":8001,"note":"two words"}'


def test_text() -> None:
    assert text_line(EVENT) == 'T info     started  port=8001 note="two words"'
    assert text_line({"event": "x", "level": "error", "time": "T"}) == "T error    x"


def test_colour_is_on_the_level_only() -> None:
    assert text_line(EVENT, colour=True) == 'T \x1b[32minfo    \x1b[0m started  port=8001 note="two words"'


def test_a_traceback_follows_indented() -> None:
    line = text_line({"event": "x", "level": "error", "time": "T", "exception": "Traceback\n  File"})
    assert line == "T error    x\n    Traceback\n      File"


@given(st.text(), st.text(), st.text())
def test_no_value_can_forge_a_line_or_reach_the_terminal(event: str, name: str, value: str) -> None:
    for line in (text_line({"event": event, name: value}), json_line({"event": event, name: value})):
        if name != "exception":
            assert len(line.splitlines()) == 1
            assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in line)


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_json_lines_are_read_back(event: dict[str, str | int | list[str]]) -> None:
    assert json.loads(json_line(event)) == event


def test_times_are_utc_with_milliseconds_and_zone() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"
