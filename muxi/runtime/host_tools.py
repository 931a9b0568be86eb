"""Programs of this machine that formations in containers may use: at /opt/muxi-tools, read-only.

MCP servers are started by npx, uvx and their like, which the runtime's image lacks. They are looked
for once in the life of the server: on the PATH of a login shell, where version managers put
theirs, and on our own.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from muxi.files import PRIVATE_DIRECTORY, atomic_write
from muxi.runtime.apptainer_command import Mount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INSIDE: Final = "/opt/muxi-tools"
TOOLS: Final = (
    "node", "npm", "npx", "bun", "uv", "uvx", "git", "curl", "wget", "jq", "tar", "gzip", "unzip", "ssh",
    "sqlite3", "python3", "ffmpeg", "ffprobe", "tesseract", "pdftotext", "pdfinfo", "pandoc", "dot",
    "make", "gcc", "g++", "cc",
)  # fmt: skip
TIMEOUT: Final = 10.0
"""Seconds that a login shell may take; people's profiles do all sorts of things."""

_ASK: Final = r'for tool in "$@"; do printf "muxi-tool\t%s\t%s\n" "$tool" "$(command -v -- "$tool")"; done'
_WRAPPER: Final = f'#!/bin/sh\nexec {INSIDE}/bin/node {INSIDE}/lib/node_modules/npm/bin/{{script}} "$@"\n'
_SCRIPTS: Final = {"npm": "npm-cli.js", "npx": "npx-cli.js"}
_LIBRARIES: Final = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
_MODULES: Final = ("/usr/lib/node_modules", "/usr/local/lib/node_modules")
_FONTS: Final = "/usr/share/fonts"
_AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True)
class Tools:
    """What was found: how it is mounted, the variables that tell of it, and what PATH begins with then."""

    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    path_first: str = ""


class HostTools:
    """Looks once, however many ask. `directory` is a private one for our wrappers."""

    def __init__(self, directory: Path, search_path: str) -> None:
        self._directory = directory
        self._search_path = search_path
        self._found: Tools | None = None
        self._looking: trio.Event | None = None

    async def find(self) -> Tools:
        """Return what is there. Raises OSError when wrappers can't be written."""
        while self._found is None:
            if self._looking is not None:
                await self._looking.wait()
                continue
            self._looking = trio.Event()
            try:
                told = await _ask_login_shell()
                self._found = await trio.to_thread.run_sync(arrange, told, self._search_path, self._directory)
            finally:
                self._looking.set()
                self._looking = None
        return self._found


async def _ask_login_shell() -> dict[str, str]:
    shell = shutil.which("bash")
    if shell is None or sys.platform == "win32":
        return {}
    env = {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME", "PATH") if name in os.environ}
    with trio.move_on_after(TIMEOUT), suppress(OSError):
        done = await trio.run_process(
            [shell, "-lc", _ASK, "bash", *TOOLS],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=env,
        )
        return parse(done.stdout.decode(errors="replace"))
    return {}


def parse(said: str) -> dict[str, str]:
    """Read the shell's answer, among whatever a profile has printed; an alias is no file."""
    rows = [line.split("\t") for line in said.splitlines()]
    return {
        row[1]: row[2]
        for row in rows
        if len(row) == 3 and row[0] == "muxi-tool" and row[1] in TOOLS and row[2].startswith("/")
    }


def arrange(told: Mapping[str, str], search_path: str, directory: Path) -> Tools:
    """Make the mounts of what was found, and write the wrappers (blocking). Raises OSError."""
    modules = next((Path(place) for place in _MODULES if Path(place, "npm").is_dir()), None)
    programs = dict(_programs(told, search_path))
    if not programs:
        return Tools()
    if modules is not None:
        programs.update(_write_wrappers(programs.keys() & _SCRIPTS.keys(), directory))
    mounts = [Mount(path, f"{INSIDE}/bin/{name}") for name, path in programs.items()]
    mounts += _libraries()
    env = {}
    if modules is not None:
        mounts.append(Mount(modules, f"{INSIDE}/lib/node_modules"))
        env["NODE_PATH"] = f"{INSIDE}/lib/node_modules"
    if Path(_FONTS).is_dir():
        mounts.append(Mount(Path(_FONTS), f"{INSIDE}/share/fonts"))
        env["FONTCONFIG_PATH"] = f"{INSIDE}/share/fonts"
    authorities = next((Path(place).resolve() for place in _AUTHORITIES if Path(place).is_file()), None)
    if authorities is not None:
        env["SSL_CERT_FILE"] = f"{INSIDE}/share/certs/ca-certificates.crt"
        mounts.append(Mount(authorities, env["SSL_CERT_FILE"]))
    return Tools(tuple(mounts), env, f"{INSIDE}/bin")


def _programs(told: Mapping[str, str], search_path: str) -> Iterator[tuple[str, Path]]:
    for name in TOOLS:
        path = told.get(name) or shutil.which(name, path=search_path)
        if path and os.access(path, os.X_OK):
            yield name, Path(path).resolve()


def _write_wrappers(names: set[str], directory: Path) -> Iterator[tuple[str, Path]]:
    """Write what starts npm and npx: their links find their files only where they were installed."""
    directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    directory.chmod(PRIVATE_DIRECTORY)
    for name in sorted(names):
        atomic_write(directory / name, _WRAPPER.format(script=_SCRIPTS[name]).encode(), 0o700)
        yield name, directory / name


def _libraries() -> list[Mount]:
    """Show the libraries of these programs. LD_LIBRARY_PATH stays as it is: the image has its own ones."""
    found: dict[Path, Mount] = {}
    for place in _LIBRARIES:
        path = Path(place)
        if path.is_dir():
            found.setdefault(path.resolve(), Mount(path.resolve(), f"{INSIDE}/lib{place}"))
    for path in sorted(Path("/usr/lib").glob("*-linux-gnu")):
        found.setdefault(path, Mount(path, f"{INSIDE}/lib/{path.name}"))
    return list(found.values())
