from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

import muxi
from muxi.cli import main
from muxi.cli.lazy import Lazy, LazyGroup
from muxi.cli.root import COMMANDS, CONFIG, FORMATION, PROGRAM
from muxi.errors import ConfigError
from tests.program import muxi_command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Installation


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    return subprocess.run(
        muxi_command(*arguments),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_version_is_three_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["version"]) == 0
    first, commit, built = capsys.readouterr().out.splitlines()
    assert first == f"MUXI Server {muxi.__version__}"
    assert commit.startswith("Git Commit: ")
    assert built.startswith("Build Time: ")


@pytest.mark.parametrize("argv", [["--version"], ["-V"], ["version", "--log-level", "debug"]])
def test_other_ways_to_ask_for_the_version(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(argv) == 0
    assert capsys.readouterr().out.startswith("MUXI Server ")


def test_version_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == muxi.__version__


@pytest.mark.parametrize("content", ["import gc; command = gc.isenabled()", "command = 1 / 0"])
@pytest.mark.parametrize("at_work", [True, False])
def test_the_garbage_collector_rests_while_a_command_is_loaded_and_no_longer(
    content: str, at_work: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loaded_here.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "loaded_here", raising=False)
    group = LazyGroup(lazy={"x": Lazy("loaded_here", "help")})
    (gc.enable if at_work else gc.disable)()
    try:
        with pytest.raises((AssertionError, ZeroDivisionError)) as caught:
            group.get_command(click.Context(group), "x")
        assert gc.isenabled() == at_work
    finally:
        gc.enable()
    assert isinstance(caught.value, ZeroDivisionError) or sys.modules["loaded_here"].command is False


def test_version_loads_nothing_heavy() -> None:
    code = (
        "import sys; from muxi.cli import main; assert main.run(['version']) == 0; "
        "print([m for m in ('trio', 'quart', 'hypercorn', 'httpx', 'rich', 'yaml', 'asyncio', 'ssl') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("argv", [["help"], ["--help"], ["-h"]])
def test_help_shows_banner_and_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(argv) == 0
    out = capsys.readouterr().out
    assert out.startswith("███╗")
    assert "\x1b" not in out
    for name, entry in COMMANDS.items():
        assert (f"  {name} " in out) is not entry.hidden


@pytest.mark.parametrize(
    "names",
    [*([n] for n in COMMANDS), *(["formation", n] for n in FORMATION), *(["config", n] for n in CONFIG)],
    ids=" ".join,
)
def test_every_command_in_the_table_exists_and_has_help(
    names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["help", *names]) == 0
    by_help = capsys.readouterr().out
    assert by_help.startswith(f"Usage: {PROGRAM} {' '.join(names)}")
    assert main.run([*names, "--help"]) == 0
    assert capsys.readouterr().out == by_help


@pytest.mark.parametrize(
    ("argv", "says", "where"),
    [
        (["frobnicate"], "Unknown command: frobnicate.", "muxi-server help"),
        (["statsu"], "Did you mean status", "muxi-server help"),
        (["formation", "deply"], "Did you mean deploy", "muxi-server help formation"),
        (["help", "nothing"], "Unknown command: nothing.", "muxi-server help"),
        (["init", "--port", "70000"], "70000", "muxi-server help init"),
        (["start", "--port", "x"], "'x'", "muxi-server help start"),
        (["formation", "get"], "ID", "muxi-server help formation get"),
        (
            ["formation", "deploy", "/no/such/directory"],
            "does not exist",
            "muxi-server help formation deploy",
        ),
        (["--log-level", "loud", "status"], "loud", "muxi-server help"),
    ],
)
def test_wrong_usage_is_exit_2_with_words_and_a_way_on(
    argv: list[str], says: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    first, last = captured.err.splitlines()
    assert first.startswith("Error: ")
    assert says in first
    assert last == f"What to do: see {where}"


def test_a_group_alone_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["formation"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Usage: muxi-server formation")
    assert "deploy" in err


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (ConfigError("bad", ("a: b",)), 2, "Error: bad\n  a: b\n"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "Error: /x/y: Permission denied\n"),
        (OSError("odd"), 1, "Error: odd\n"),
        (
            ZeroDivisionError("secret text"),
            1,
            "Error: muxi-server failed where it should not: ZeroDivisionError.\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_no_failure_shows_a_traceback(
    *,
    raised: BaseException,
    code: int,
    says: str,
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("muxi.cli.version.click.echo", fail)
    assert main.run(["version"]) == code
    err = capsys.readouterr().err
    assert err.lstrip().startswith(says)
    assert "Traceback" not in err
    assert "secret text" not in err


def test_debugging_shows_where(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUXI_DEBUG", "1")
    installation.config_file.parent.mkdir()
    installation.config_file.write_text("server: 5\n")
    with pytest.raises(ConfigError):
        main.run(["config", "validate"])


def test_as_a_process_the_exit_status_is_the_command_s(installation: Installation) -> None:
    done = program("version", **installation.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("MUXI Server ")
    done = program("frobnicate", **installation.environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Unknown command" in done.stderr


def test_a_locale_without_the_letters_garbles_but_does_not_fail(installation: Installation) -> None:
    done = program("help", PYTHONIOENCODING="latin-1", **installation.environment)
    assert done.returncode == 0
    assert "Usage:" in done.stdout
