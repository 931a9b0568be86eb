"""Bubblewrap's command line (bwrap(1)): what a sandboxed process sees, and what it has lost. Pure.

What it does not do, and why:

- `--new-session`: the process has no terminal, and in a session of its own it would leave the
  process group by which all of it is told to end.
- `--die-with-parent`: formations outlive the server.
- `--unshare-net`: a formation is there to be reached, and to reach others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc", "/nix/store",
    "/sys/devices/system", "/sys/fs/cgroup",
)  # fmt: skip
"""What is shown of the machine, read-only, where it exists. Homes, /var, /run and /srv are not."""

SECRETS: Final = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d",
    "/etc/ssh", "/etc/ssl/private",
)  # fmt: skip
"""What is hidden in there: root without any capability may still read root's own files."""

FILTER_DESCRIPTOR: Final = 3
_OPEN_FILTER: Final = f'exec "$@" {FILTER_DESCRIPTOR}<"$0"'


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The places that a process sees besides the system, each under its own name.

    `readable` and `writable` are bound in this order, over what is hidden; `extra` before that,
    each only if it is there. `hidden_files` exist. `temporary` is its /tmp.
    """

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    extra: tuple[str, ...] = ()
    hidden_files: tuple[str, ...] = ()
    hidden_directories: tuple[str, ...] = ()
    temporary: Path


def command(
    program: str, view: View, filter_file: Path | None, cwd: Path, argv: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the command that runs `argv` in a sandbox.

    Bubblewrap takes the filter of system calls from an open file, so a shell opens it and becomes
    bubblewrap: the process is the same one all the time.
    """
    opened = ("/bin/sh", "-c", _OPEN_FILTER, str(filter_file)) if filter_file else ()
    filtered = ("--seccomp", str(FILTER_DESCRIPTOR)) if filter_file else ()
    return (
        *opened,
        program,
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-cgroup-try",
        "--cap-drop",
        "ALL",
        *filtered,
        *_mounts(view),
        "--chdir",
        str(cwd),
        "--",
        *argv,
    )


def _mounts(view: View) -> Iterator[str]:
    yield from ("--proc", "/proc", "--dev", "/dev")
    yield from ("--bind", str(view.temporary), "/tmp")  # noqa: S108 - its own
    yield from ("--symlink", "/tmp", "/var/tmp", "--dir", "/run")  # noqa: S108
    for place in (*SYSTEM, *view.extra):
        yield from ("--ro-bind-try", place, place)
    for file in view.hidden_files:
        yield from ("--ro-bind", "/dev/null", file)
    for directory in view.hidden_directories:
        yield from ("--tmpfs", directory)
    yield from _bound("--ro-bind", view.readable)
    yield from _bound("--bind", view.writable)
    for directory in ("/", *view.hidden_directories):
        yield from ("--remount-ro", directory)


def _bound(how: str, places: Iterable[Path]) -> Iterator[str]:
    for place in places:
        yield from (how, str(place), str(place))


def is_shown(path: Path, extra: Iterable[str] = ()) -> bool:
    """Say whether a path is in what is shown of the machine."""
    return any(path.is_relative_to(place) for place in (*SYSTEM, *extra))
