"""Running an installer: its lines as they come, its whole group ended when nobody wants it any more."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from muxi.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LINGER: Final = 1.0
"""Seconds in which the rest of the output may come after the end."""
LAST_WAIT: Final = 10.0
"""Seconds in which a killed installer must have ended."""
UMASK: Final = 0o022
"""What is made may be read by all: formations may run as another user."""
_BLOCK: Final = 65536
_LONGEST: Final = 8192


async def run(
    argv: tuple[str, ...],
    *,
    env: Mapping[str, str],
    cwd: Path,
    on_line: Callable[[str], None],
    inherit: tuple[int, ...] = (),
) -> int:
    """Run it and return its exit status; both outputs are given to `on_line`, a line at a time.

    It leads a group of its own, in our session (see `muxi.process.reaper`), and keeps the descriptors
    of `inherit`. Cancelled, the group is killed: what it was making is to be thrown away. Raises
    OperatorError when it can't be started.
    """
    windows = os.name == "nt"
    try:
        process = await trio.lowlevel.open_process(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            process_group=None if windows else 0,
            pass_fds=() if windows else inherit,
            umask=-1 if windows else UMASK,
        )
    except OSError as error:
        raise OperatorError(
            f"The installer {argv[0]} can't be started: {error.strerror}.",
            code="InstallerNotFound",
            stage="installing",
            cure="See that it is there, and that the server's user may run it.",
        ) from error
    try:
        assert process.stdout is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, process.stdout, on_line)
            status = await process.wait()
            # A process that it has left behind may hold the pipe for ever.
            nursery.cancel_scope.deadline = trio.current_time() + LINGER
    finally:
        with trio.move_on_after(LAST_WAIT, shield=True):
            await _end(process)
    return status


async def _read(stream: trio.abc.ReceiveStream, on_line: Callable[[str], None]) -> None:
    rest = b""
    async with stream:
        while block := await stream.receive_some(_BLOCK):
            *lines, rest = (rest + block).replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                on_line(line[:_LONGEST].decode("utf-8", "replace"))
            rest = rest[-_LONGEST:]
    if rest:
        on_line(rest.decode("utf-8", "replace"))


async def _end(process: trio.Process) -> None:
    # Not reaped as yet, so its id can be nobody else's.
    if process.returncode is None:
        if os.name == "nt":
            process.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
