from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.errors import FormationFailed, MuxiError, OperatorError, StorageError
from muxi.process import procfs
from muxi.process.spawn import spawn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muxi.process.spec import ExitReport, ProcessSpec
    from tests.process.conftest import MakeSpec


async def run_to_end(spec: ProcessSpec) -> ExitReport:
    with trio.fail_after(30):
        child = await spawn(spec)
        await child.wait()
        return await child.end(expected=False)


async def test_environment_is_the_specs_and_the_token(make_spec: MakeSpec) -> None:
    spec = make_spec(("/usr/bin/env", "-0"), env={"ODD": "two\nlines=ü", "EMPTY": ""})
    await run_to_end(spec)
    entries = dict(entry.split("=", 1) for entry in spec.stdout.read_text().rstrip("\0").split("\0"))
    token = entries.pop(procfs.TOKEN_VARIABLE)
    assert len(token) == 32
    assert entries == dict(spec.env)


async def test_it_leads_its_own_session_and_group(make_spec: MakeSpec) -> None:
    spec = make_spec("import os; print(os.getpid(), os.getpgid(0), os.getsid(0))")
    await run_to_end(spec)
    pid, group, session = spec.stdout.read_text().split()
    assert pid == group == session
    assert int(session) != os.getsid(0)


async def test_working_directory_umask_and_empty_input(make_spec: MakeSpec) -> None:
    spec = make_spec("import os, sys; print(os.getcwd(), oct(os.umask(0)), repr(sys.stdin.read()))")
    await run_to_end(spec)
    assert spec.stdout.read_text().split() == [str(spec.cwd.resolve()), "0o27", "''"]


async def test_outputs_are_appended_to_files_of_their_own(make_spec: MakeSpec) -> None:
    spec = make_spec("import sys; print('out'); print('err', file=sys.stderr)")
    for _ in range(2):
        await run_to_end(spec)
    assert spec.stdout.read_text() == "out\nout\n"
    assert spec.stderr.read_text() == "err\nerr\n"
    assert spec.stdout.stat().st_mode & 0o777 == 0o640


async def test_log_tail_shows_this_run_only(make_spec: MakeSpec) -> None:
    await run_to_end(make_spec("print('first run')"))
    child = await spawn(make_spec("import sys; print('second'); print('oh', file=sys.stderr)"))
    await child.wait()
    await child.end(expected=False)
    assert await child.log_tail() == ["stdout: second", "stderr: oh"]


async def test_nothing_of_ours_is_inherited(make_spec: MakeSpec, tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        spec = make_spec(
            "import os; print(*(os.readlink(f'/proc/self/fd/{n}') for n in range(3)), sep='\\n')\n"
            f"try: os.fstat({secret.fileno()})\nexcept OSError: print('closed')"
        )
        await run_to_end(spec)
    assert spec.stdout.read_text().split() == ["/dev/null", str(spec.stdout), str(spec.stderr), "closed"]


async def test_program_is_found_on_the_formations_path(make_spec: MakeSpec, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "hello-tool"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$1"\n')
    program.chmod(0o755)
    spec = make_spec(("hello-tool", "a $HOME b"), env={"PATH": str(program.parent)})
    await run_to_end(spec)
    assert spec.stdout.read_text() == "a $HOME b\n"  # no shell has seen it


def _script(tmp_path: Path, text: str, mode: int) -> tuple[str]:
    path = tmp_path / "script"
    path.write_text(text)
    path.chmod(mode)
    return (str(path),)


BROKEN: list[tuple[str, Callable[[Path], tuple[str, ...]], str]] = [
    ("missing", lambda _: ("no-such-program",), "not found: no-such-program"),
    ("missing path", lambda _: ("/no/such/program",), "not found: /no/such/program"),
    ("a file on the way", lambda tmp: (f"{_script(tmp, '', 0o755)[0]}/x",), "not found"),
    ("not executable", lambda tmp: _script(tmp, "#!/bin/sh\n", 0o644), "may not be executed"),
    ("a directory", lambda tmp: (str(tmp),), "may not be executed"),
    ("no first line", lambda tmp: _script(tmp, "echo hello\n", 0o755), "neither a binary"),
    ("no interpreter", lambda tmp: _script(tmp, "#!/no/such/sh\n", 0o755), "interpreter is missing"),
    ("too long", lambda _: ("/bin/true", "x" * 3_000_000), "too long"),
    ("NUL", lambda _: ("/bin/true", "a\0b"), "can't be passed"),
    ("empty", lambda _: (), "can't be passed"),
]


@pytest.mark.parametrize(("argv", "message"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
async def test_command_that_cannot_run_says_why(
    make_spec: MakeSpec,
    tmp_path: Path,
    count_fds: Callable[[], int],
    argv: Callable[[Path], tuple[str, ...]],
    message: str,
) -> None:
    before = count_fds()
    with pytest.raises(FormationFailed, match=message) as caught:
        await spawn(make_spec(argv(tmp_path)))
    assert (caught.value.code, caught.value.stage) == ("SpawnError", "spawning")
    assert caught.value.cure
    assert count_fds() == before


async def test_missing_working_directory_is_told_apart(make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(FormationFailed, match=r"working directory .* does not exist"):
        await spawn(make_spec(("/bin/true",), cwd=tmp_path / "gone"))


async def test_variable_with_an_impossible_name(make_spec: MakeSpec) -> None:
    with pytest.raises(FormationFailed, match="can't be passed") as caught:
        await spawn(make_spec(("/bin/true",), env={"A=B": "canary-value"}))
    assert "canary" not in str(caught.value)


async def test_output_that_cannot_be_opened_is_the_operators(
    make_spec: MakeSpec, tmp_path: Path, count_fds: Callable[[], int]
) -> None:
    (tmp_path / "file").write_text("")
    before = count_fds()
    with pytest.raises(StorageError, match="can't be opened") as caught:
        await spawn(make_spec(("/bin/true",), stderr=tmp_path / "file" / "err.log"))
    assert caught.value.stage == "spawning"
    assert count_fds() == before


async def test_full_machine_is_the_operators(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_room)
    with pytest.raises(OperatorError, match="can't start another process"):
        await spawn(make_spec(("/bin/true",)))


async def test_no_secret_in_any_text_of_it(make_spec: MakeSpec) -> None:
    spec = make_spec(("/no/such",), env={"API_KEY": "canary-value"})
    with pytest.raises(MuxiError) as caught:
        await spawn(spec)
    assert "canary" not in repr(spec) + repr(caught.value) + str(caught.value.details)


async def test_cancelled_spawn_starts_nothing(make_spec: MakeSpec, count_fds: Callable[[], int]) -> None:
    await run_to_end(make_spec(("/bin/true",)))  # trio's first thread and such are there now
    before = count_fds()
    with trio.CancelScope() as scope:
        scope.cancel()
        await spawn(make_spec(("/bin/true",)))
    assert scope.cancelled_caught
    assert count_fds() == before
