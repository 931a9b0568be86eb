"""The filter of system calls (seccomp(2)): a program for the kernel's classic BPF machine. Pure.

What is refused gets EPERM, as it would from a kernel that asks for more privileges. clone(2) is
refused only where it makes a namespace. clone3(2) has its flags in memory, which a filter can't
read; it gets ENOSYS, and libraries fall back to clone. ioctl(2) may not put characters into a
terminal's input. Calls by another architecture's numbers end the process: the filter would
misread them.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.sandbox.syscalls import Architecture

# linux/bpf_common.h, linux/filter.h
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_IF_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
# linux/seccomp.h: what is returned, and where struct seccomp_data has what
ALLOW: Final = 0x7FFF0000
ERRNO: Final = 0x00050000
KILL_PROCESS: Final = 0x80000000
_NUMBER: Final = 0
_ARCH: Final = 4
_FIRST_ARGUMENT: Final = 16  # the lower half of it, on these little-endian machines
_SECOND_ARGUMENT: Final = 24

NEW_NAMESPACES: Final = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET together (linux/sched.h)."""
TERMINAL_INPUT: Final = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX (asm-generic/ioctls.h)."""
_X32: Final = 0x40000000


@dataclass(frozen=True, slots=True)
class _Step:
    """An instruction; `then` names the label to go on at if it holds, else the next one follows."""

    code: int
    value: int
    then: str = ""
    label: str = ""


def make_filter(machine: Architecture) -> bytes:
    """Return the filter as bytes: an array of struct sock_filter."""
    special = [
        _Step(_IF_EQUAL, machine.clone, "clone"),
        _Step(_IF_EQUAL, machine.clone3, "no such call"),
        _Step(_IF_EQUAL, machine.ioctl, "ioctl"),
    ]
    return assemble(
        [
            _Step(_LOAD, _ARCH),
            _Step(_IF_EQUAL, machine.audit, "ours"),
            _Step(_RETURN, KILL_PROCESS),
            _Step(_LOAD, _NUMBER, label="ours"),
            *([_Step(_IF_AT_LEAST, _X32, "no such call")] if machine.x32 else []),
            *special,
            *(_Step(_IF_EQUAL, number, "refused") for number in sorted(machine.denied.values())),
            _Step(_RETURN, ALLOW),
            _Step(_LOAD, _FIRST_ARGUMENT, label="clone"),
            _Step(_IF_ANY_BIT, NEW_NAMESPACES, "refused"),
            _Step(_RETURN, ALLOW),
            _Step(_LOAD, _SECOND_ARGUMENT, label="ioctl"),
            *(_Step(_IF_EQUAL, request, "refused") for request in TERMINAL_INPUT),
            _Step(_RETURN, ALLOW),
            _Step(_RETURN, ERRNO | errno.ENOSYS, label="no such call"),
            _Step(_RETURN, ERRNO | errno.EPERM, label="refused"),
        ]
    )


def assemble(steps: Sequence[_Step]) -> bytes:
    """Write instructions with their jumps as distances, which have eight bits."""
    places = {step.label: place for place, step in enumerate(steps) if step.label}
    return b"".join(
        struct.pack("=HBBI", step.code, places[step.then] - place - 1 if step.then else 0, 0, step.value)
        for place, step in enumerate(steps)
    )
