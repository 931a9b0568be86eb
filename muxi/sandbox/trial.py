"""Finding out what sandboxes can be made here: by making one.

User namespaces may be switched off, a container may not let us mount, a kernel may have no
filters of system calls; which of it is so is seen best by trying.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from muxi.files import atomic_write
from muxi.process import scratch
from muxi.process.posix import identity
from muxi.process.user import hand_over
from muxi.sandbox import bubblewrap
from muxi.sandbox.seccomp import make_filter
from muxi.sandbox.status import Status
from muxi.sandbox.syscalls import ARCHITECTURES

if TYPE_CHECKING:
    from muxi.process.user import User

TIMEOUT: Final = 10.0
_TRIVIAL: Final = ("/bin/sh", "-c", ":")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INSTALL: Final = "Install bubblewrap on the server (Debian, Ubuntu, Fedora: the package `bubblewrap`)."
_ALLOW: Final = (
    "Let the server's user make user namespaces (sysctl user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns); a container has to be "
    "started so that it may."
)


async def find_out(search_path: str, directory: Path, user: User | None = None) -> Status:
    """Try, within some seconds, as this user. `directory` is ours, for the filter and the trial.

    Raises OSError, and OperatorError when the user can't get there.
    """
    if sys.platform != "linux":
        return Status(problem="sandboxes are made on Linux only", cure="Run the server on Linux.")
    path = f"{search_path}{os.pathsep}{_PATH}"
    setpriv = shutil.which("setpriv", path=path) or ""
    program = shutil.which("bwrap", path=path)
    if program is None:
        return Status(setpriv=setpriv, problem="bubblewrap (bwrap) is not installed", cure=_INSTALL)
    version, problem = await _run((program, "--version"))
    if problem:
        return Status(setpriv=setpriv, problem=f"{program}: {problem}", cure=_INSTALL)
    for filter_file in (await trio.to_thread.run_sync(_write_filter, directory), None):
        problem = await _make_one(program, filter_file, directory / "trial", user)
        if not problem:
            note = "" if filter_file else "no filter of system calls could be set"
            return Status(program, version, filter_file, setpriv, note)
    return Status(setpriv=setpriv, problem=problem, cure=_ALLOW)


async def _make_one(program: str, filter_file: Path | None, temporary: Path, user: User | None) -> str:
    await trio.to_thread.run_sync(scratch.make_empty, temporary)
    if user is not None:
        await trio.to_thread.run_sync(hand_over, replace(user, owns=(temporary,)))
    view = bubblewrap.View(temporary=temporary)
    _, problem = await _run(bubblewrap.command(program, view, filter_file, Path("/"), _TRIVIAL), user)
    await scratch.clear_away(temporary)
    return problem


async def _run(argv: tuple[str, ...], user: User | None = None) -> tuple[str, str]:
    """Return what a program says, and what went wrong."""
    with trio.move_on_after(TIMEOUT):
        try:
            done = await trio.run_process(
                argv,
                check=False,
                capture_stdout=True,
                capture_stderr=True,
                env={"PATH": _PATH},
                **identity(user),
            )
        except OSError as error:
            return "", error.strerror or str(error)
        said = done.stdout.decode(errors="replace").strip()
        complaint = done.stderr.decode(errors="replace").strip()
        return said, "" if done.returncode == 0 else complaint or f"exit status {done.returncode}"
    return "", f"no answer within {TIMEOUT:g} s"


def _write_filter(directory: Path) -> Path | None:
    machine = ARCHITECTURES.get(platform.machine().lower())
    if machine is None:
        return None
    directory.mkdir(parents=True, exist_ok=True)
    path, content = directory / f"{machine.name}.bpf", make_filter(machine)
    if not path.exists() or path.read_bytes() != content:
        atomic_write(path, content, 0o644)  # whoever runs the formations opens it
    return path
