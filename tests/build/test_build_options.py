"""The file of options is understood, and a mistake in it is one of the build, not of the binary."""

from __future__ import annotations

import pytest

from build.options import FILE, arguments, read_options


def test_each_line_of_a_value_is_the_option_once() -> None:
    section = {"mode": "standalone", "deployment": "", "nofollow-import-to": "\nanyio\n  certifi\n"}
    assert arguments(section) == (
        "--mode=standalone",
        "--deployment",
        "--nofollow-import-to=anyio",
        "--nofollow-import-to=certifi",
    )


def test_the_file_that_is_there_is_understood() -> None:
    options = read_options(FILE.read_text("utf-8"))
    assert options.cpython.url.endswith(f"/{options.cpython.version}/Python-{options.cpython.version}.tar.xz")
    assert options.cpython.version.startswith(f"{options.cpython.series}.")
    assert len(bytes.fromhex(options.cpython.sha256)) == 32
    assert options.limits.glibc >= (2, 17)
    assert "--include-package=muxi" in options.common
    assert "--mode=standalone" in options.static
    assert "--mode=onefile" in options.onefile
    everything = (*options.common, *options.static, *options.onefile)
    assert all(argument.startswith("--") and " " not in argument for argument in everything)
    assert len(set(everything)) == len(everything)


def test_what_is_imported_at_the_start_is_not_left_out() -> None:
    """quart, click and the others need these, whatever they look like."""
    left_out = {a.partition("=")[2] for a in read_options(FILE.read_text("utf-8")).common if "nofollow" in a}
    assert left_out.isdisjoint({"asyncio", "click", "flask", "jinja2", "multiprocessing", "ssl", "werkzeug"})


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [("version = ", "versoin = ", KeyError), ("glibc = 2", "glibc = two", ValueError)],
)
def test_a_mistake_is_an_error(old: str, new: str, error: type[Exception]) -> None:
    text = FILE.read_text("utf-8")
    assert old in text
    with pytest.raises(error):
        read_options(text.replace(old, new, 1))
