"""launchd of macOS: the property list (launchd.plist(5)), and `launchctl`."""

from __future__ import annotations

import os
import plistlib
import re
from pathlib import Path
from typing import Final

from muxi.service import tool
from muxi.service.definition import OPEN_FILES, RESTART_SECONDS, Condition, Definition

LABEL: Final = "ai.muxi.server"
OLD_LABEL: Final = "org.muxi.server"
"""Of the original's agent, which would take the same port."""


class Launchd:
    """The agents of the user who asks, or without `user` the machine's daemons."""

    name = "launchd"

    def __init__(
        self,
        *,
        user: bool,
        home: Path,
        run: tool.Run = tool.run,
        root: Path = Path("/"),
        uid: int | None = None,
    ) -> None:
        self._run = run
        directory = home / "Library/LaunchAgents" if user else root / "Library/LaunchDaemons"
        self._old = directory / f"{OLD_LABEL}.plist"
        self.file = directory / f"{LABEL}.plist"
        number = os.getuid() if uid is None and hasattr(os, "getuid") else uid
        self._domain = f"gui/{number}" if user else "system"

    def install(self, definition: Definition) -> list[str]:
        remarks = self._set_old_aside()
        replaced = tool.write(self.file, property_list(definition), LABEL)
        self._run(("launchctl", "bootout", f"{self._domain}/{LABEL}"))
        tool.must(self._run, "launchctl", "bootstrap", self._domain, str(self.file))
        return remarks if replaced is None else [*remarks, f"The file that was there is kept as {replaced}."]

    def uninstall(self) -> bool:
        if not self.file.exists():
            return False
        self._run(("launchctl", "bootout", f"{self._domain}/{LABEL}"))
        tool.remove(self.file)
        return True

    def condition(self) -> Condition:
        installed = self.file.exists()
        shown = self._run(("launchctl", "print", f"{self._domain}/{LABEL}"))
        state = re.search(r"^\s*state = (.+)$", shown.stdout, re.MULTILINE)
        detail = state[1] if state else ""
        return Condition(installed, detail == "running", installed, self.file, detail)

    def _set_old_aside(self) -> list[str]:
        if not self._old.exists():
            return []
        self._run(("launchctl", "bootout", f"{self._domain}/{OLD_LABEL}"))
        kept = self._old.with_name(f"{self._old.name}.replaced")
        try:
            self._old.replace(kept)
        except OSError as error:
            raise tool.cannot_write(self._old, error) from error
        return [f"The original's service has been ended; its file is kept as {kept}."]


def property_list(definition: Definition) -> bytes:
    """Write the property list. Pure."""
    log = str(definition.log_dir / "launchd.log")
    facts: dict[str, object] = {
        "Label": LABEL,
        "ProgramArguments": [*definition.command, "start"],
        "RunAtLoad": True,
        "KeepAlive": True,
        "ThrottleInterval": RESTART_SECONDS,
        "ExitTimeOut": definition.stop_seconds,
        # Formations that a crash of the server leaves are adopted by the next one.
        "AbandonProcessGroup": True,
        "ProcessType": "Interactive",
        "SoftResourceLimits": {"NumberOfFiles": OPEN_FILES},
        "HardResourceLimits": {"NumberOfFiles": OPEN_FILES},
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    if definition.environment:
        facts["EnvironmentVariables"] = dict(definition.environment)
    if definition.user:
        facts["UserName"] = definition.user
    return plistlib.dumps(facts)
