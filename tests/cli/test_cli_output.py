from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.cli.output import (
    as_text,
    clean,
    cpu_text,
    duration_text,
    plain_table,
    print_facts,
    print_table,
    size_text,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_columns_line_up() -> None:
    assert plain_table(("id", "status"), [("a", "running"), ("longer-id", "")]) == [
        "ID         STATUS",
        "a          running",
        "longer-id  -",
    ]


def test_a_pipe_gets_a_line_a_row_however_long() -> None:
    out = io.StringIO()
    print_table(("id", "text"), [("a", "x" * 500)], out)
    assert out.getvalue().splitlines()[1] == f"a   {'x' * 500}"


def test_a_terminal_gets_a_table_with_every_cell() -> None:
    out = Terminal()
    print_table(("id", "status"), [("my-agent", "running"), ("other", "[bold]crashed")], out)
    text = out.getvalue()
    assert "my-agent" in text
    assert "[bold]crashed" in text


@pytest.mark.parametrize("make", [io.StringIO, Terminal])
def test_no_control_character_gets_through(make: type[io.StringIO]) -> None:
    out = make()
    print_table(("name",), [("evil\x1b]0;title\x07\r\n",)], out)
    assert "\x1b]0" not in out.getvalue()
    assert "\x07" not in out.getvalue()


@given(st.text())
def test_clean_text_is_printable_and_as_long(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    assert cleaned.isprintable()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1024, "1K"),
        (123456789, "118M"),
        (1.5 * 1024**3, "1.5G"),
        (900 * 1024**4, "900T"),
        (None, ""),
        (True, ""),
        ("1", ""),
    ],
)
def test_sizes_are_short(size: object, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.00s"), (1.256, "1.26s"), (10.5, "10s"), (3700, "1h 1m"), (None, "")]
)
def test_processor_time_is_short(seconds: object, text: str) -> None:
    assert cpu_text(seconds) == text


def test_facts_line_up_below_their_title() -> None:
    out = io.StringIO()
    print_facts({"Server": [("ID", "x"), ("Uptime", "3s")], "Ports": [("Total", "9")]}, out)
    assert out.getvalue() == "Server\n  ID:     x\n  Uptime: 3s\n\nPorts\n  Total: 9\n"


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (True, "yes"), (False, "no"), (0, "0"), ("x", "x"), (1.5, "1.5")]
)
def test_as_text(value: object, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (59, "59s"), (60, "1m 0s"), (3599.9, "59m 59s"), (3600, "1h 0m"),
        (90061, "1d 1h"), (86400 * 3 + 59, "3d 0h"), ("x", ""), (None, ""), (True, ""),
    ],
)  # fmt: skip
def test_duration_text(seconds: object, text: str) -> None:
    assert duration_text(seconds) == text
