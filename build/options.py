"""The options of the build, as `build/nuitka.cfg` says them."""

from __future__ import annotations

from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = Path(__file__).with_name("nuitka.cfg")


@dataclass(frozen=True, slots=True)
class CPython:
    """The interpreter to link in, and where its source is."""

    version: str
    sha256: str
    url: str
    debian_package: str
    debian_suite: str
    optimise: bool
    leave_out: tuple[str, ...]

    @property
    def series(self) -> str:
        """The version without its last number, as files are named."""
        return self.version.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Sysroot:
    """The system that is compiled for: a suite of Debian, its C library, and libraries of this machine's."""

    suite: str
    old: tuple[str, ...]
    libraries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """The newest glibc that the file may ask for, and the most it may weigh, in bytes."""

    glibc: tuple[int, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Options:
    cpython: CPython
    sysroot: Sysroot
    limits: Limits
    common: tuple[str, ...]
    static: tuple[str, ...]
    onefile: tuple[str, ...]


def read_options(text: str) -> Options:
    """Parse the file. Raises KeyError and ValueError for what is missing or wrong."""
    parser = ConfigParser(interpolation=None, inline_comment_prefixes=None)
    parser.read_string(text)
    python, sysroot, limits = parser["cpython"], parser["sysroot"], parser["limits"]
    return Options(
        cpython=CPython(
            version=python["version"],
            sha256=python["sha256"],
            url=python["url"].format(version=python["version"]),
            debian_package=python["debian-package"],
            debian_suite=python["debian-suite"],
            optimise=parser.getboolean("cpython", "optimise"),
            leave_out=tuple(python["leave-out"].split()),
        ),
        sysroot=Sysroot(sysroot["suite"], tuple(sysroot["old"].split()), tuple(sysroot["libraries"].split())),
        limits=Limits(
            tuple(int(part) for part in limits["glibc"].split(".")), int(limits["mebibytes"]) << 20
        ),
        common=arguments(parser["nuitka"]),
        static=arguments(parser["nuitka static"]),
        onefile=arguments(parser["nuitka onefile"]),
    )


def arguments(section: Mapping[str, str]) -> tuple[str, ...]:
    """Turn a section into arguments: each line of a value is the option once; no value, a flag."""
    found: list[str] = []
    for name, value in section.items():
        lines = [line.strip() for line in value.splitlines() if line.strip()]
        found += [f"--{name}={line}" for line in lines] or [f"--{name}"]
    return tuple(found)
