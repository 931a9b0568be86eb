"""How this machine's processor is called in the names of files: amd64, arm64."""

from __future__ import annotations

import platform
from typing import Final

_NAMES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def architecture(machine: str | None = None) -> str:
    """Return the name that release files and images have for a processor; this machine's for None."""
    found = (machine or platform.machine()).lower()
    return _NAMES.get(found, found)
