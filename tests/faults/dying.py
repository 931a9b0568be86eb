"""The server, which dies of SIGKILL, or meets an error of the disk, at the n-th thing it does to it.

Run in place of `-m muxi`. Armed while the file that DIE_AT names exists: it holds n, counted from
then on, `kill` or the name of an error, and a word that is another one each time. Each thing is
written to that file's name with `.seen`, so that a walk can say where it was. Starting a process
counts too, and can only be died at.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ARM = os.environ["DIE_AT"]
_lock = threading.Lock()
_count = 0
_armed = ""


def _hook(module: Any, name: str) -> None:
    real: Callable[..., Any] = getattr(module, name)

    def hooked(*arguments: Any, **named: Any) -> Any:
        _pass(name, arguments)
        return real(*arguments, **named)

    setattr(module, name, hooked)


def _pass(name: str, arguments: tuple[Any, ...]) -> None:
    global _count, _armed  # noqa: PLW0603 - all that this program keeps
    with _lock:
        try:
            with open(ARM) as file:  # noqa: PTH123 - pathlib is among what is hooked
                text = file.read().split()
        except OSError:
            text = []
        if len(text) < 3:  # there is none, or it is just being written
            return
        _count = _count + 1 if text[2] == _armed else 1
        _armed = text[2]
        seen = os.open(ARM + ".seen", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(seen, f"{_count} {name} {_told(arguments)}\n".encode())
        os.close(seen)
        if _count != int(text[0]):
            return
        if text[1] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name != "Popen":
            number = getattr(errno, text[1])
            raise OSError(number, os.strerror(number))


def _told(arguments: tuple[Any, ...]) -> str:
    first = arguments[0] if arguments else ""
    if isinstance(first, int):
        try:
            return os.readlink(f"/proc/self/fd/{first}")  # noqa: PTH115 - pathlib is among what is hooked
        except OSError:
            return str(first)
    return " ".join(str(argument) for argument in arguments[:2])[:200]


for _name in ("fsync", "rename", "replace", "symlink"):
    _hook(os, _name)
_hook(subprocess, "Popen")
if hasattr(os, "killpg"):
    _hook(os, "killpg")

from muxi.cli.main import main  # noqa: E402 - after the hooks are in

sys.exit(main())
