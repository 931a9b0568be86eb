"""Where the server's files are: by environment, else by where the program stands, else by the home.

The platform, the environment, the program's path and the home are given by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from muxi.config.model import Paths
from muxi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_NAME = "config.yaml"

_PROGRAM_FILES = (r"C:\Program Files", r"C:\Program Files (x86)")


@dataclass(frozen=True, slots=True)
class _Machine:
    environment: Mapping[str, str]
    home: Path
    working_directory: Path
    windows: bool
    system_wide: bool


def find_paths(
    platform: str,
    environment: Mapping[str, str],
    executable: Path,
    home: Path,
    working_directory: Path | None = None,
) -> Paths:
    """Return all paths of this installation, absolute.

    `platform` is as in `sys.platform`; `working_directory`, by default the current one, is where
    relative paths in the environment begin. Raises ConfigError on Windows without APPDATA.
    """
    machine = _Machine(
        environment,
        home,
        working_directory or Path.cwd(),
        platform == "win32",
        _system_wide(platform, executable),
    )
    config_dir, data_dir, log_dir = (_directory(machine, name) for name in ("CONFIG", "DATA", "LOG"))
    cache_dir = _from_environment(machine, "CACHE") or data_dir / "cache"
    return Paths(config_dir, data_dir, log_dir, cache_dir, config_dir / CONFIG_NAME)


def install_type(platform: str, environment: Mapping[str, str], executable: Path) -> str:
    """Name the kind of installation, as `start` shows it."""
    if any(environment.get(f"MUXI_{name}_DIR") for name in ("CONFIG", "DATA", "LOG")):
        return "Custom"
    if _system_wide(platform, executable):
        return "System (Windows)" if platform == "win32" else "System (Linux)"
    return "User-level"


def _system_wide(platform: str, executable: Path) -> bool:
    """Tell whether the program was installed for the whole machine."""
    if platform == "win32":
        program = PureWindowsPath(str(executable))
        return any(program.is_relative_to(root) for root in _PROGRAM_FILES)
    return platform == "linux" and PurePosixPath(executable).is_relative_to("/usr")


def _directory(machine: _Machine, name: str) -> Path:
    return _from_environment(machine, name) or Path(_default(machine, name))


def _from_environment(machine: _Machine, name: str) -> Path | None:
    text = machine.environment.get(f"MUXI_{name}_DIR", "")
    return machine.working_directory / text if text else None


def _default(machine: _Machine, name: str) -> str:
    if machine.windows:
        below = {"CONFIG": "server", "DATA": "data" if machine.system_wide else "server", "LOG": "logs"}
        base = r"C:\ProgramData" if machine.system_wide else _appdata(machine)
        return str(PureWindowsPath(base, "muxi", below[name]))
    if machine.system_wide:
        return {"CONFIG": "/etc/muxi/server", "DATA": "/var/lib/muxi", "LOG": "/var/log/muxi"}[name]
    user = machine.home / ".muxi" / "server"
    return str(user / "logs" if name == "LOG" else user)


def _appdata(machine: _Machine) -> str:
    appdata = machine.environment.get("APPDATA", "")
    if not appdata:
        problem = "APPDATA is not set; set it, or MUXI_CONFIG_DIR, MUXI_DATA_DIR and MUXI_LOG_DIR"
        raise ConfigError("The directories of this user are unknown", (problem,))
    return appdata
