"""Starting a process from its specification, whatever the operating system (`muxi.process.system`).

It is started on the event loop's thread: that takes about a millisecond. Its log files are opened
in a worker thread, because a disk may be slow; its limits are put on it in one, because the kernel
may be.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from typing import TYPE_CHECKING

import trio

from muxi.errors import FormationFailed, MuxiError, OperatorError, StorageError
from muxi.process import scratch
from muxi.process.confinement import Confiner
from muxi.process.newborn import Newborn
from muxi.process.output import end_position
from muxi.process.procfs import TOKEN_VARIABLE, hash_token
from muxi.process.system import this_system
from muxi.process.user import hand_over

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

    from muxi.process.cgroups import Group
    from muxi.process.handle import Handle
    from muxi.process.spec import ProcessSpec
    from muxi.process.system import System

LOG_MODE = 0o640
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


async def spawn(
    spec: ProcessSpec, *, confiner: Confiner | None = None, system: System | None = None
) -> Handle:
    """Start a process: own session and group, no input, output appended to its two files.

    The confiner limits it, and knows it from now on; without one only its open files are limited.
    Its environment is exactly `spec.env` and one token, by which we know it again.
    Raises FormationFailed when its command can't be run, StorageError when its output files
    can't be written, OperatorError when the machine has no room for another process.
    """
    system, confiner = system or this_system(), confiner or Confiner()
    token = spec.token or secrets.token_hex(16)
    stdout, stderr, log_starts, group = await trio.to_thread.run_sync(_prepare, spec, token, confiner)
    # From here to the return there is no checkpoint that can be cancelled and so lose the child.
    try:
        popen = _start(system, spec, token, stdout, stderr)
    except BaseException:
        confiner.discard(group)
        raise
    finally:
        os.close(stdout)
        os.close(stderr)
    confinement = confiner.enter(spec, popen.pid, hash_token(token.encode()), group)
    handle = system.hold(Newborn(popen, token, spec, log_starts, confinement))
    if confinement.to_be_placed:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(confinement.place)
    return handle


def _prepare(
    spec: ProcessSpec, token: str, confiner: Confiner
) -> tuple[int, int, tuple[int, int], Group | None]:
    _make_room(spec)
    stdout, stderr, log_starts = _open_outputs(spec)
    return stdout, stderr, log_starts, confiner.prepare(spec, hash_token(token.encode()))


def _make_room(spec: ProcessSpec) -> None:
    """Make its directory for temporary files, and give its user what it needs."""
    try:
        if spec.scratch is not None:
            scratch.make_empty(spec.scratch)
        if spec.user is not None:
            hand_over(spec.user)
    except OSError as error:
        raise StorageError(
            f"The process's directories can't be made ready: {error.strerror} ({error.filename}).",
            stage=STAGE,
            cure="Make the data directory writable for the server, and see that its disk has room.",
        ) from error


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
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, LOG_MODE), start
    except OSError as error:
        raise StorageError(
            f"The output file {path} can't be opened: {error.strerror}.",
            stage=STAGE,
            cure="Make the logs directory writable for the server, and see that its disk has room.",
        ) from error


def _start(
    system: System, spec: ProcessSpec, token: str, stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    marks = dict.fromkeys((*spec.token_variables, TOKEN_VARIABLE), token)
    try:
        return system.start(spec, {**spec.env, **marks}, stdout, stderr)
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
