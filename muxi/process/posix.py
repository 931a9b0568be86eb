"""Starting a process on Linux and macOS.

The fork happens on the event loop's thread, by `subprocess.Popen` with vfork(2): CPython uses it
when there is no `preexec_fn` and no change of user, and `umask` and `start_new_session` keep it.
It takes about a millisecond and does not grow with our memory. There is no parent-death signal,
so that formations outlive us; with one, forking in a worker thread would be wrong too, as it is
tied to the *thread* that forked, and trio's idle threads end after ten seconds.

For another user's process fork(2) is used instead, which takes a few milliseconds of ours.

Without `preexec_fn` nothing of ours runs between fork and exec. So limits are put on the process
right after its exec, from outside: see `muxi.process.confinement`.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, TypedDict

from muxi.process.child import Child

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from muxi.process.newborn import Newborn
    from muxi.process.spec import ProcessSpec
    from muxi.process.user import User

UMASK = 0o027


class PosixSystem:
    """Processes that lead a session and a process group of their own."""

    def start(
        self, spec: ProcessSpec, environment: Mapping[str, str], stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            spec.argv,
            cwd=spec.cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            close_fds=True,
            start_new_session=True,
            umask=UMASK,
            **identity(spec.user),
        )

    def hold(self, newborn: Newborn) -> Child:
        one = newborn
        return Child(one.popen, one.token, one.spec, one.log_starts, confinement=one.confinement)


class Identity(TypedDict, total=False):
    """Three of the arguments of `subprocess.Popen`."""

    user: int
    group: int
    extra_groups: Sequence[int]


def identity(user: User | None) -> Identity:
    """Return how `subprocess.Popen` is told to be somebody else."""
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": user.groups}
