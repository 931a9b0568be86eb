"""The server, killed by SIGKILL right before the n-th thing it does to the disk or to processes.

Run in place of `-m muxi`. Armed while the file that DIE_AT names exists: it holds n, counted from
then on. Each thing is written to that file's name with `.seen`, so that a walk can say where it was.
"""

from __future__ import annotations

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


def _hook(module: Any, name: str) -> None:
    real: Callable[..., Any] = getattr(module, name)

    def hooked(*arguments: Any, **named: Any) -> Any:
        _pass(name, arguments)
        return real(*arguments, **named)

    setattr(module, name, hooked)


def _pass(name: str, arguments: tuple[Any, ...]) -> None:
    global _count  # noqa: PLW0603 - the one thing this program keeps
    with _lock:
        try:
            with open(ARM) as file:  # noqa: PTH123 - pathlib is among what is hooked
                at = int(file.read() or 0)
        except (OSError, ValueError):
            return
        _count += 1
        seen = os.open(ARM + ".seen", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(seen, f"{_count} {name} {_told(arguments)}\n".encode())
        os.close(seen)
        if _count == at:
            os.kill(os.getpid(), signal.SIGKILL)


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
