"""`~/.muxi/config.yaml`: what the user of this machine has chosen, for the MUXI programs of all kinds.

The command line and the installers of the original write it too; keys that are not ours, and
comments, stay as they are. All functions block.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from muxi.config.edit import edit_config
from muxi.config.values import parse_boolean
from muxi.errors import ConfigError, OperatorError
from muxi.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST: Final = 1 << 20
FILE_MODE: Final = 0o644
"""Of a new file: it holds no secret, and the original's has it."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the file says. None: nothing. `problem`: why it can't be read, so that nobody may guess."""

    telemetry: bool | None = None
    machine_id: str | None = None
    problem: str | None = None


def preferences_file(home: Path) -> Path:
    return home / ".muxi" / "config.yaml"


def home_of(environment: Mapping[str, str]) -> Path:
    """Return whose preferences count; where there is no home at all, none can be kept."""
    try:
        return Path(environment.get("HOME") or Path.home())
    except RuntimeError:
        return Path("/nonexistent")


def read_preferences(file: Path) -> Preferences:
    """Read it. Never raises."""
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST)
        value = yaml.safe_load(data)
    except FileNotFoundError:
        return Preferences()
    except OSError as error:
        return Preferences(problem=f"{file} can't be read: {error.strerror}")
    except (yaml.YAMLError, ValueError, RecursionError):
        return Preferences(problem=f"{file} is not YAML")
    if value is None:
        return Preferences()
    if not isinstance(value, dict):
        return Preferences(problem=f"{file} is not a list of settings")
    return _preferences(file, value)


def _preferences(file: Path, value: Mapping[object, object]) -> Preferences:
    machine_id = value.get("machine_id")
    known = machine_id if isinstance(machine_id, str) and machine_id.strip() else None
    chosen = value.get("telemetry")
    if chosen is None:
        return Preferences(machine_id=known)
    try:
        return Preferences(parse_boolean(str(chosen)), known)
    except ValueError:
        return Preferences(machine_id=known, problem=f"{file}: telemetry is neither true nor false")


def write_preference(file: Path, name: str, value: str) -> None:
    """Set one key, and leave every other byte. Raises OperatorError; the file is as it was then."""
    try:
        text, mode = _read(file)
        changed = edit_config(text, {name: value})
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file.resolve(), changed.encode(), mode)
    except OSError as error:
        raise OperatorError(f"{file} can't be written: {error.strerror or error}.") from error
    except ConfigError as error:
        raise OperatorError(
            f"{file} can't be changed: {'; '.join(error.problems)}.",
            cure=f"Write it by hand: {name}: {value}",
        ) from error


def _read(file: Path) -> tuple[str, int]:
    try:
        return file.read_bytes().decode(), stat.S_IMODE(file.stat().st_mode)
    except FileNotFoundError:
        return "", FILE_MODE
    except UnicodeDecodeError as error:
        raise ConfigError("config.yaml can't be changed", ("it is not UTF-8",)) from error
