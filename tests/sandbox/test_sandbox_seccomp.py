from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

import pytest

from muxi.sandbox.seccomp import ALLOW, ERRNO, KILL_PROCESS, make_filter
from muxi.sandbox.syscalls import AARCH64, ARCHITECTURES, X86_64

if TYPE_CHECKING:
    from muxi.sandbox.syscalls import Architecture

EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS


def ask(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """Run a filter as the kernel does (linux/filter.h), on one struct seccomp_data."""
    data = struct.pack("=IIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    steps = list(struct.iter_unpack("=HBBI", program))
    accumulator = place = 0
    while True:
        code, then, otherwise, value = steps[place]
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
            then = otherwise = 0
        elif code == 0x06:
            return int(value)
        holds = {
            0x20: True,
            0x15: accumulator == value,
            0x35: accumulator >= value,
            0x45: bool(accumulator & value),
        }
        place += 1 + (then if holds[code] else otherwise)


MACHINES = pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=["x86_64", "aarch64"])


@MACHINES
def test_what_is_on_the_list_is_refused_and_the_rest_is_not(machine: Architecture) -> None:
    program = make_filter(machine)
    special = {machine.clone, machine.clone3, machine.ioctl}
    for number in range(600):
        if number not in special:
            denied = number in machine.denied.values()
            assert ask(program, machine.audit, number) == (EPERM if denied else ALLOW), number


@MACHINES
@pytest.mark.parametrize("name", ["ptrace", "mount", "bpf", "unshare", "keyctl", "kexec_load", "userfaultfd"])
def test_the_worst_are_on_the_list(machine: Architecture, name: str) -> None:
    assert ask(make_filter(machine), machine.audit, machine.denied[name]) == EPERM


@MACHINES
def test_a_process_may_have_children_and_threads_but_no_namespaces(machine: Architecture) -> None:
    program = make_filter(machine)
    sigchld, thread, newuser = 17, 0x3D0F00, 0x10000000
    assert ask(program, machine.audit, machine.clone, sigchld) == ALLOW
    assert ask(program, machine.audit, machine.clone, thread) == ALLOW
    assert ask(program, machine.audit, machine.clone, newuser | sigchld) == EPERM
    assert ask(program, machine.audit, machine.clone3) == ENOSYS


@MACHINES
def test_nothing_is_typed_into_a_terminal_whatever_the_upper_bits_say(machine: Architecture) -> None:
    program = make_filter(machine)
    tcgets, tiocsti = 0x5401, 0x5412
    assert ask(program, machine.audit, machine.ioctl, 0, tcgets) == ALLOW
    assert ask(program, machine.audit, machine.ioctl, 0, tiocsti) == EPERM
    assert ask(program, machine.audit, machine.ioctl, 0, 1 << 32 | tiocsti) == EPERM


def test_calls_by_other_numbers_are_not_taken_for_ours() -> None:
    program = make_filter(X86_64)
    i386, x32 = 0x40000003, 0x40000000
    assert ask(program, i386, 1) == KILL_PROCESS
    assert ask(program, X86_64.audit, x32 | 101) == ENOSYS


def test_every_name_of_a_machine_has_its_numbers() -> None:
    assert ARCHITECTURES["amd64"] is ARCHITECTURES["x86_64"] is X86_64
    assert ARCHITECTURES["arm64"] is ARCHITECTURES["aarch64"] is AARCH64
