"""How image files are called, and which of them are for this machine. Pure.

The names are the original's (`muxi-runtime-1.2.3-cuda-linux-amd64.sif`), which existing
installations and mirrors have.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

from muxi import processor
from muxi.images.versions import LEAN, VARIANTS, Version, parse_version

_RUNTIME = re.compile(
    r"muxi-runtime-(?P<version>\d+\.\d+\.\d+)(?:-(?P<variant>[a-z]+))?-linux-(?P<arch>[a-z0-9]+)\.sif",
    re.ASCII,
)
_RCE = re.compile(r"skills-rce-(?P<version>\d+\.\d+\.\d+)-linux-(?P<arch>[a-z0-9]+)\.sif", re.ASCII)


class RuntimeName(NamedTuple):
    """What a file's name says."""

    version: Version
    variant: str
    arch: str


def architecture(system: str = sys.platform, machine: str | None = None) -> str:
    """Return the architecture of images that run here.

    Outside Linux they run within a virtual machine, and there is only the one for amd64 then.
    """
    return processor.architecture(machine) if system == "linux" else "amd64"


def runtime_name(version: Version | str, variant: str, arch: str) -> str:
    suffix = "" if variant == LEAN else f"-{variant}"
    return f"muxi-runtime-{version}{suffix}-linux-{arch}.sif"


def read_runtime_name(name: str) -> RuntimeName | None:
    """Read a file's name; None for anything else than a runtime's image."""
    found = _RUNTIME.fullmatch(name)
    version = parse_version(found["version"]) if found else None
    if found is None or version is None:
        return None
    variant = found["variant"] or LEAN
    return RuntimeName(version, variant, found["arch"]) if variant in VARIANTS else None


def rce_name(version: Version | str, arch: str) -> str:
    return f"skills-rce-{version}-linux-{arch}.sif"


def read_rce_name(name: str, arch: str) -> Version | None:
    """Return the version of a code runner's image for this architecture; None for anything else."""
    found = _RCE.fullmatch(name)
    return parse_version(found["version"]) if found and found["arch"] == arch else None
