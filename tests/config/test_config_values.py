# ruff: noqa: RUF001 - ranges are written with the dash that belongs there

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.config import values
from muxi.config.values import (
    format_duration,
    format_size,
    parse_boolean,
    parse_choice,
    parse_duration,
    parse_host,
    parse_integer,
    parse_port,
    parse_size,
    parse_text,
    parse_url_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PARSERS: list[Callable[[str], object]] = [
    parse_boolean,
    parse_port,
    parse_duration,
    parse_size,
    parse_host,
    parse_text,
    parse_url_path,
    lambda text: parse_choice(text, ("a", "b")),
]


def complaint_of(parse: Callable[[str], object], text: str) -> str | None:
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        ("1.5s", 1.5),
        ("30", 30.0),
        ("0.25", 0.25),
        (" 10s ", 10.0),
        ("0", 0.0),
        ("0s", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "abc",
        "10x",
        "-5s",
        "-1",
        "1h 30m",
        "30S",
        "1,5s",
        "5mm",
        "nan",
        "inf",
        "1e3",
        "s30",
        "9" * 41,
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 30s, 5m or 1h30m; allowed: 0s or more"):
        parse_duration(text)


def test_a_duration_out_of_range_is_told_the_range() -> None:
    with pytest.raises(ValueError, match=r'"25h" is out of range; allowed: 100ms–24h'):
        parse_duration("25h", 0.1, 86400)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10M", 10 * 1024**2),
        ("10MB", 10 * 1024**2),
        ("1GiB", 1024**3),
        ("1g", 1024**3),
        ("512K", 524288),
        ("512 kb", 524288),
        ("1.5K", 1536),
        ("2T", 2 * 1024**4),
        ("100", 100),
        ("100B", 100),
        ("0", 0),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "10X", "-1K", "1 0K", "ten", "10MM", "1e3", "10Mi5", "1" * 41])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as 512K, 10M or 1G; allowed: 0 or more"):
        parse_size(text)


@given(st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000))
def test_a_formatted_duration_reads_as_itself(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 2**60))
def test_a_formatted_size_reads_as_itself(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 2**30), st.sampled_from(["", "K", "M", "G", "T"]))
def test_all_spellings_of_a_size_agree(number: int, unit: str) -> None:
    spellings = [unit, unit.lower(), unit + "B", unit + "iB" if unit else "B"]
    assert len({parse_size(f"{number}{spelling}") for spelling in spellings}) == 1


@given(st.text())
def test_every_parser_takes_or_refuses_any_text_with_a_message_on_one_line(text: str) -> None:
    for complaint in [complaint_of(parse, text) for parse in PARSERS]:
        assert complaint is None or ("allowed: " in complaint and complaint.isprintable())


@pytest.mark.parametrize("text", ["true", "Yes", "on", "1", " TRUE "])
def test_true(text: str) -> None:
    assert parse_boolean(text) is True


@pytest.mark.parametrize("text", ["false", "No", "off", "0"])
def test_false(text: str) -> None:
    assert parse_boolean(text) is False


def test_neither_true_nor_false() -> None:
    with pytest.raises(ValueError, match='"maybe" is neither true nor false; allowed: true, false'):
        parse_boolean("maybe")


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("65535", 65535), (" 7890 ", 7890)])
def test_ports(text: str, port: int) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", '"abc" is not a whole number; allowed: 0–65535'),
        ("80.5", '"80.5" is not a whole number'),
        ("8_000", '"8_000" is not a whole number'),
        ("1" * 5000, "is not a whole number"),
        ("٣", "is not a whole number"),
        ("65536", "65536 is out of range; allowed: 0–65535"),
        ("-1", "-1 is out of range"),
    ],
)
def test_what_is_no_port(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_port(text)


def test_a_number_without_upper_limit() -> None:
    assert parse_integer("123456789", 1) == 123456789
    with pytest.raises(ValueError, match="0 is out of range; allowed: 1 or more"):
        parse_integer("0", 1)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("0.0.0.0", "0.0.0.0"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:0", "::"),
        ("localhost", "localhost"),
        ("agents.example.com", "agents.example.com"),
        ("my_host-1", "my_host-1"),
    ],
)
def test_hosts(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "1.2.3",
        "256.0.0.1",
        "a..b",
        "-a",
        "a-",
        "a b",
        "http://x",
        "x:80",
        "[::1",
        "a" * 64,
        "ho\nst",
        "é",
    ],
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host; allowed: an IP address or a host name"):
        parse_host(text)


@pytest.mark.parametrize("text", ["/", "/v1/health", "/a%20b"])
def test_url_paths(text: str) -> None:
    assert parse_url_path(text) == text


@pytest.mark.parametrize("text", ["", "health", "/a b", "/a?b", "/a#b", "/é", "/a\r\nX: y"])
def test_what_is_no_url_path(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path of a URL"):
        parse_url_path(text)


def test_long_and_unprintable_values_are_cut_and_escaped() -> None:
    assert values.shown("a" * 50) == '"' + "a" * 39 + '…"'
    assert values.shown("a\x1b[31m\n") == '"a\\x1b[31m\\x0a"'


@given(st.text())
def test_a_shown_value_is_printable(text: str) -> None:
    assert values.shown(text).isprintable()


@given(st.text(min_size=1))
def test_text_that_is_taken_is_printable(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_text(text).isprintable()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://pkg.muxi.org/runtime", "https://pkg.muxi.org/runtime"),
        (" http://127.0.0.1:8000/// ", "http://127.0.0.1:8000"),
        ("https://me:word@mirror.example", "https://me:word@mirror.example"),
    ],
)
def test_urls(text: str, url: str) -> None:
    assert values.parse_url(text) == url


@pytest.mark.parametrize(
    "text", ["", "mirror.example", "ftp://CANARY@x", "https://", "https://CANARY@x/?a", "https://a b"]
)
def test_what_is_no_url_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="not a URL that files can come from") as raised:
        values.parse_url(text)
    assert "CANARY" not in str(raised.value)
