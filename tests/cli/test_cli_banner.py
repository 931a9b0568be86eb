from __future__ import annotations

import io

import pytest

from muxi.cli.banner import LINES, banner, print_banner, shows_colour, welcome


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_banner_is_six_lines_of_one_width() -> None:
    lines = banner(colour=False).split("\n")
    assert len(lines) == 6
    assert {len(line) for line in lines} == {31}
    assert "\x1b" not in banner(colour=False)


def test_coloured_banner_names_each_colour_once_and_resets() -> None:
    text = banner(colour=True)
    for _, (r, g, b) in LINES:
        assert text.count(f"\x1b[38;2;{r};{g};{b}m") == 1
    assert text.startswith("\x1b[38;2;217;170;84m")
    assert text.endswith("\x1b[0m")


@pytest.mark.parametrize(
    ("stream", "environ", "expected"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colour_only_on_terminals(stream: io.StringIO, environ: dict[str, str], expected: bool) -> None:
    assert shows_colour(stream, environ) is expected


def test_a_pipe_gets_no_escape_sequences() -> None:
    out = io.StringIO()
    print_banner(out)
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().endswith("\n\n")


@pytest.mark.parametrize(
    ("machine", "shown"),
    [
        ("AMD64", "x86_64"),
        ("x86_64", "x86_64"),
        ("aarch64", "arm64"),
        ("386", "i386"),
        ("riscv64", "riscv64"),
    ],
)
def test_welcome_names_version_licence_and_architecture(machine: str, shown: str) -> None:
    first = welcome("1.2.3", machine).splitlines()[0]
    assert first == f"Welcome to MUXI Server 1.2.3 (ELv2, {shown})"
