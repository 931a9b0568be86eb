"""systemd: the unit, and `systemctl`.

What is in the unit, and what had better not be, is explained in contributing/server.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from muxi.errors import OperatorError
from muxi.service import tool
from muxi.service.definition import (
    DESCRIPTION,
    DOCUMENTATION,
    OPEN_FILES,
    RESTART_SECONDS,
    Condition,
    Definition,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNIT: Final = "muxi-server.service"
MARK: Final = "# Made by `muxi-server service install`"
HAS_SUBGROUPS: Final = 254
"""The first version that knows DelegateSubgroup."""
RUNNING: Final = Path("/run/systemd/system")
PROTECTED: Final = tuple(map(Path, ("/etc", "/usr", "/boot", "/efi")))
"""What ProtectSystem=full makes read-only."""


class Systemd:
    """The machine's manager, or with `user` that of the user who asks."""

    name = "systemd"

    def __init__(self, *, user: bool, home: Path, run: tool.Run = tool.run, root: Path = Path("/")) -> None:
        self._user = user
        self._run = run
        self._root = root
        system = root / "etc/systemd/system"
        self.file = (home / ".config/systemd/user" if user else system) / UNIT

    def install(self, definition: Definition) -> list[str]:
        self._see_it_runs()
        text = unit(definition, version=self._version(), user_manager=self._user)
        replaced = tool.write(self.file, text.encode(), MARK)
        for words in (("daemon-reload",), ("enable", UNIT), ("restart", UNIT)):
            self._must(*words)
        remarks = [] if replaced is None else [f"The unit that was there is kept as {replaced}."]
        if self._user:
            remarks.append("It ends when you log out, unless: loginctl enable-linger")
        return remarks

    def uninstall(self) -> bool:
        if not self.file.exists():
            return False
        self._see_it_runs()
        self._must("disable", "--now", UNIT)
        tool.remove(self.file)
        self._must("daemon-reload")
        return True

    def condition(self) -> Condition:
        installed = self.file.exists()
        if not (self._root / RUNNING.relative_to("/")).is_dir():
            return Condition(installed, False, False, self.file, "systemd does not run here")
        names = "ActiveState,SubState,UnitFileState,MainPID,StatusText"
        shown = self._run(self._command("show", UNIT, "--property", names)).stdout
        facts = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        return Condition(
            installed,
            facts.get("ActiveState") in {"active", "reloading", "refreshing"},
            facts.get("UnitFileState") == "enabled",
            self.file,
            " ".join(filter(None, (facts.get("ActiveState"), _bracketed(facts), facts.get("StatusText")))),
        )

    def _see_it_runs(self) -> None:
        if not (self._root / RUNNING.relative_to("/")).is_dir():
            raise OperatorError(
                "systemd does not run here, so there is nothing to install a service in.",
                cure="In a container, let its engine start the server: muxi-server start",
            )

    def _version(self) -> int:
        found = re.match(r"systemd (\d+)", self._run(("systemctl", "--version")).stdout)
        return int(found[1]) if found else 0

    def _must(self, *words: str) -> None:
        tool.must(self._run, *self._command(*words))

    def _command(self, *words: str) -> Sequence[str]:
        return ("systemctl", *(("--user",) if self._user else ()), *words)


def unit(definition: Definition, *, version: int, user_manager: bool) -> str:
    """Write the unit for a version of systemd. Pure."""
    return "\n".join(_lines(definition, version, user_manager=user_manager)) + "\n"


def _lines(definition: Definition, version: int, *, user_manager: bool) -> Iterator[str]:
    yield f"{MARK}; what you change belongs in a drop-in: systemctl edit {UNIT}"
    yield from ("", "[Unit]", f"Description={DESCRIPTION}", f"Documentation={DOCUMENTATION}")
    if not user_manager:
        yield from ("Wants=network-online.target", "After=network-online.target")
    yield from ("", "[Service]", "Type=notify")
    if definition.user and not user_manager:
        yield f"User={definition.user}"
    program, *words = definition.command
    command = " ".join([quoted(program), *(quoted(word, expanded=True) for word in words)])
    yield from (f"ExecStart={command} start", f"ExecReload={command} config reload")
    yield from (f"Environment={quoted(f'{k}={v}')}" for k, v in sorted(definition.environment.items()))
    yield from (
        "Restart=always",
        f"RestartSec={RESTART_SECONDS}",
        f"TimeoutStopSec={definition.stop_seconds}",
    )
    yield "WatchdogSec=30"
    yield from (
        "",
        "# Formations that a crash of the server leaves are adopted by the next one: end the server only.",
    )
    yield from ("KillMode=process", "OOMPolicy=continue", "Delegate=yes")
    if version >= HAS_SUBGROUPS:
        yield "DelegateSubgroup=server"
    yield from (f"LimitNOFILE={OPEN_FILES}", "TasksMax=infinity")
    if not user_manager:
        yield from (
            "",
            "# More of this kind would forbid formations what they need (containers, set-user-id helpers).",
        )
        yield "ProtectSystem=full"
        yield from (
            f"ReadWritePaths={quoted(f'-{path}')}"
            for path in sorted(set(definition.writes))
            if _protected(path)
        )
    yield from ("", "[Install]", f"WantedBy={'default' if user_manager else 'multi-user'}.target")


def quoted(word: str, *, expanded: bool = False) -> str:
    """Write a word so that systemd takes it as it is: systemd.service(5), systemd.unit(5) for "%".

    `expanded`: it is one in which variables are put, an argument of a command.
    """
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if expanded:
        text = text.replace("$", "$$")
    return text if re.fullmatch(r"[\w./%=:@+-]+", word) else f'"{text}"'


def in_container(environment: dict[str, str] | os._Environ[str] = os.environ, root: Path = Path("/")) -> bool:
    """Tell whether this is a container, where its engine is what starts services."""
    return "container" in environment or (root / ".dockerenv").exists()


def _protected(path: Path) -> bool:
    return any(path.is_relative_to(place) for place in PROTECTED)


def _bracketed(facts: dict[str, str]) -> str:
    pid = facts.get("MainPID", "0")
    words = [facts.get("SubState", ""), f"pid {pid}" if pid != "0" else ""]
    return f"({', '.join(filter(None, words))})" if any(words) else ""
