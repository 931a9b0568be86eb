"""The system calls that a sandboxed process is refused, with their numbers.

What is here changes the machine, looks into or alters other processes, makes new namespaces (the
way to privileges within one), or has often been the way into the kernel. Programs that serve
requests need none of it; most needs root anyway. Numbers are those of the kernel's
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h, and never change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Architecture:
    """`audit` is its AUDIT_ARCH_* of linux/audit.h. `x32`: it has a second set of numbers, from 2^30."""

    name: str
    audit: int
    clone: int
    clone3: int
    ioctl: int
    denied: Mapping[str, int]
    x32: bool = False


_EVERYWHERE: Final = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
}

_TABLE: Final = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "init_module": (175, 105),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mount": (165, 40),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}

X86_64: Final = Architecture(
    name="x86_64",
    audit=0xC000003E,
    clone=56,
    clone3=435,
    ioctl=16,
    denied={
        **{name: numbers[0] for name, numbers in _TABLE.items()},
        **_EVERYWHERE,
        "iopl": 172,
        "ioperm": 173,
    },
    x32=True,
)
AARCH64: Final = Architecture(
    name="aarch64",
    audit=0xC00000B7,
    clone=220,
    clone3=435,
    ioctl=29,
    denied={**{name: numbers[1] for name, numbers in _TABLE.items()}, **_EVERYWHERE},
)

ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "x86_64": X86_64,
    "amd64": X86_64,
    "aarch64": AARCH64,
    "arm64": AARCH64,
}
"""By what `platform.machine()` says."""
