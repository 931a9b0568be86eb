"""What is told of the machine: a name that leads nowhere, and its kind and size.

The name is a hash of the id that the system has made for itself at its installation (machine-id(5)
asks for that: the id is confidential). It tells two machines apart, and says nothing of either.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from muxi import __version__
from muxi.errors import OperatorError
from muxi.processor import architecture
from muxi.telemetry.preferences import read_preferences, write_preference
from muxi.telemetry.report import Facts

if TYPE_CHECKING:
    from collections.abc import Sequence

log = structlog.get_logger()

FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
TOOLS: Final = {
    "darwin": (
        ("ioreg", "-rd1", "-c", "IOPlatformExpertDevice"),
        re.compile(r'"IOPlatformUUID" = "([^"]+)"'),
    ),
    "win32": (
        (
            "powershell",
            "-NoProfile",
            "-Command",
            "(Get-CimInstance Win32_ComputerSystemProduct).UUID",
        ),
        re.compile(r"([0-9A-Fa-f-]{36})"),
    ),
}
TOOL_SECONDS: Final = 5.0


def machine_id(preferences_file: Path, *, keep: bool) -> str:
    """Return this machine's name, the one that is kept in the user's file, or make it.

    With `keep` a new one is written there, where that is possible. Blocks.
    """
    known = read_preferences(preferences_file).machine_id
    if known is not None:
        return known
    made = hashed(system_id() or uuid.uuid4().hex)
    if keep:
        try:
            write_preference(preferences_file, "machine_id", made)
        except OperatorError as error:
            log.debug("machine id not kept", reason=error.message)
    return made


def hashed(system: str) -> str:
    """Make the name of a system's id: the first 32 digits of a hash, written as a UUID is."""
    digits = hashlib.sha256(f"{system}muxi".encode()).hexdigest()[:32]
    return str(uuid.UUID(digits))


def system_id(platform_name: str = sys.platform, files: Sequence[Path] = FILES) -> str | None:
    """Return what the system calls itself; None when it does not say."""
    for file in files:
        try:
            text = file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text and text != "uninitialized":
            return text
    return _from_tool(platform_name)


def _from_tool(platform_name: str) -> str | None:
    if platform_name not in TOOLS:
        return None
    command, pattern = TOOLS[platform_name]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TOOL_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = pattern.search(done.stdout)
    return found[1] if found else None


def facts(*, uptime: float = 0.0, active: int = 0, ports: int = 0, ports_allocated: int = 0) -> Facts:
    """Return what is so now: of the server as it is given here, and of this machine."""
    return Facts(
        version=__version__,
        runtime="singularity" if sys.platform == "linux" else "docker",
        uptime=uptime,
        active=active,
        ports=ports,
        ports_allocated=ports_allocated,
        os="windows" if sys.platform == "win32" else sys.platform,
        arch=architecture(),
        cpus=os.cpu_count() or 1,
        memory=memory(),
    )


def memory() -> int:
    """Return the bytes of memory of this machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
