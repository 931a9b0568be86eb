"""Starting a process from its specification.

The fork happens on the event loop's thread, by `subprocess.Popen` with vfork(2): CPython uses it
when there is no `preexec_fn` and no change of user, and `umask` and `start_new_session` keep it.
It takes about a millisecond and does not grow with our memory. A worker thread would be wrong:
a parent-death signal is tied to the *thread* that forked, and trio's idle threads end after ten
seconds. Only the log files are opened in a thread, because a disk may be slow.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import subprocess
from typing import TYPE_CHECKING

import trio

from muxi.errors import FormationFailed, MuxiError, OperatorError, StorageError
from muxi.process.child import Child
from muxi.process.output import end_position
from muxi.process.procfs import TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from muxi.process.spec import ProcessSpec

LOG_MODE = 0o640
UMASK = 0o027
STAGE = "spawning"
CODE = "SpawnError"

_OUR_LIMITS = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})

_NOT_FOUND = ("The program was not found", "Check `command`: is it installed, and on the formation's PATH?")
_NOT_ALLOWED = (
    "The program may not be executed",
    "Make the file executable (chmod +x), or name its interpreter in `command`.",
)
_NOT_A_PROGRAM = (
    "The program is neither a binary for this machine nor a script with a first line (#!)",
    "Add the first line, or name its interpreter in `command`.",
)
_COMMAND_FAULTS: Mapping[int, tuple[str, str]] = {
    errno.ENOENT: _NOT_FOUND,
    errno.ENOTDIR: _NOT_FOUND,
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.ENOEXEC: _NOT_A_PROGRAM,
    errno.E2BIG: ("The command and environment are too long", "Move large values into files."),
}


async def spawn(spec: ProcessSpec) -> Child:
    """Start a process: own session and group, no input, output appended to its two files.

    Its environment is exactly `spec.env` and one token, by which we know it again.
    Raises FormationFailed when its command can't be run, StorageError when its output files
    can't be written, OperatorError when the machine has no room for another process.
    """
    stdout, stderr, log_starts = await trio.to_thread.run_sync(_open_outputs, spec)
    # From here to the return there is no checkpoint, so no cancellation can lose the child.
    try:
        token = spec.token or secrets.token_hex(16)
        return Child(_fork(spec, token, stdout, stderr), token, spec, log_starts)
    finally:
        os.close(stdout)
        os.close(stderr)


def _open_outputs(spec: ProcessSpec) -> tuple[int, int, tuple[int, int]]:
    """Open both logs; return also the positions where this run's output begins."""
    stdout, stdout_start = _open_output(spec.stdout)
    try:
        stderr, stderr_start = _open_output(spec.stderr)
    except BaseException:
        os.close(stdout)
        raise
    return stdout, stderr, (stdout_start, stderr_start)


def _open_output(path: Path) -> tuple[int, int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        start = end_position(path)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, LOG_MODE), start
    except OSError as error:
        raise StorageError(
            f"The output file {path} can't be opened: {error.strerror}.",
            stage=STAGE,
            cure="Make the logs directory writable for the server, and see that its disk has room.",
        ) from error


def _fork(spec: ProcessSpec, token: str, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            spec.argv,
            cwd=spec.cwd,
            env={**spec.env, TOKEN_VARIABLE: token},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            close_fds=True,
            start_new_session=True,
            umask=UMASK,
        )
    except OSError as error:
        raise _explain(error, spec) from error
    except (ValueError, IndexError) as error:  # a NUL byte, "=" in a variable's name, an empty command
        raise FormationFailed(
            f"The command or environment can't be passed to a process: {error}.",
            code=CODE,
            stage=STAGE,
            cure="Remove NUL characters from `command` and `env`, and '=' from variables' names.",
        ) from error


def _explain(error: OSError, spec: ProcessSpec) -> MuxiError:
    program = spec.argv[0]
    if error.errno in _OUR_LIMITS:
        return OperatorError(
            f"This machine can't start another process: {error.strerror}.",
            code=CODE,
            stage=STAGE,
            cure="Stop a formation, or raise the server's limits on processes, open files and memory.",
        )
    what, cure = _command_fault(error, spec)
    return FormationFailed(
        f"{what}: {program}", code=CODE, stage=STAGE, cure=cure, details={"program": program}
    )


def _command_fault(error: OSError, spec: ProcessSpec) -> tuple[str, str]:
    if not spec.cwd.is_dir():
        return f"The working directory {spec.cwd} does not exist, for", "Deploy the formation again."
    if error.errno == errno.ENOENT and _exists(spec):
        return "The program's interpreter is missing", "Check the script's first line (#!)."
    other = f"The program can't be started ({error.strerror})", "Check `command`."
    return _COMMAND_FAULTS.get(error.errno or 0, other)


def _exists(spec: ProcessSpec) -> bool:
    program = spec.argv[0]
    if os.sep in program:
        return (spec.cwd / program).exists()
    return shutil.which(program, path=spec.env.get("PATH", os.defpath)) is not None
