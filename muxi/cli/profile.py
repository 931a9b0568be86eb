"""The profile by which the `muxi` command line finds this server: `~/.muxi/cli/profiles.yaml`.

That file is the command line's, and holds what people have written into it: one entry is changed,
every other byte stays. Its default is called `default` by one version and `default_profile` by
another; both are kept in step where neither says anything yet.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import yaml

from muxi.config.edit import edit_config
from muxi.errors import ConfigError
from muxi.files import PRIVATE_FILE, atomic_write
from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.auth.credentials import KeyPair
    from muxi.config.model import Config

NAME: Final = "localhost"
DEFAULTS: Final = ("default", "default_profile")
PROGRAMS: Final = (Path(".local/bin/muxi"), Path("/usr/local/bin/muxi"))
"""Where the command line is, if not on the path; relative to the home."""

OTHERS: Final = 0o077

_NEW = """\
version: "1.0"
default: {name}
default_profile: {name}
profiles:
"""


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of the profile, and why it is not as it should be, if it is not."""

    file: Path
    done: Literal["created", "updated", "unchanged", "not written"]
    reason: str = ""

    def __str__(self) -> str:
        return f"{NAME} in {self.file}: {self.done}" + (f" ({self.reason})" if self.reason else "")


def keep_profile(config: Config, home: Path) -> Change | None:
    """Have the command line's profile name this server; None where there is no command line, or no key.

    Never raises: a server is complete without it.
    """
    if not config.auth.keys or not is_installed(home):
        return None
    file = home / ".muxi" / "cli" / "profiles.yaml"
    try:
        return _keep(file, _url(config), config.auth.keys[0])
    except OSError as error:
        return Change(file, "not written", error.strerror or str(error))
    except (ConfigError, UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError):
        return Change(file, "not written", "it is written in a way that can't be changed safely")


def is_installed(home: Path) -> bool:
    """Tell whether the `muxi` command line is there."""
    return shutil.which("muxi") is not None or any((home / program).exists() for program in PROGRAMS)


def changed(text: str, url: str, key: KeyPair, now: float) -> str:
    """Return the file's text with the profile as it should be; the same text where it is. Pure.

    Raises ConfigError, or what YAML raises, where the text is not such a file.
    """
    value = yaml.safe_load(text)
    if value is None:
        text, value = text + _NEW.format(name=NAME), {}
    if not isinstance(value, dict):
        raise ConfigError(f"{type(value).__name__} is no list of profiles")
    changes = _changes(value, url, key, now)
    # Each is put before the others of its group.
    return edit_config(text, dict(reversed(changes.items())))


def _changes(value: Mapping[str, object], url: str, key: KeyPair, now: float) -> dict[str, str | int]:
    profiles = value.get("profiles")
    known = profiles.get(NAME) if isinstance(profiles, dict) else None
    wanted = {"url": url, "key_id": key.id, "secret_key": key.secret}
    changes: dict[str, str | int] = {}
    if not any(value.get(name) for name in DEFAULTS):
        changes |= dict.fromkeys([name for name in DEFAULTS if name in value] or DEFAULTS, NAME)
    if not isinstance(known, dict) or any(known.get(name) != text for name, text in wanted.items()):
        stamp = rfc3339(int(now)).replace(".000", "")
        changes |= {f"profiles.{NAME}.{name}": text for name, text in {**wanted, "added_at": stamp}.items()}
    return changes


def _keep(file: Path, url: str, key: KeyPair) -> Change:
    file.parent.mkdir(parents=True, exist_ok=True)
    before = file.read_bytes().decode() if file.exists() else ""
    after = changed(before, url, key, time.time())
    if after == before:
        if file.stat().st_mode & OTHERS:
            file.chmod(PRIVATE_FILE)
        return Change(file, "unchanged")
    atomic_write(file.resolve(), after.encode(), PRIVATE_FILE)
    return Change(file, "updated" if _known(yaml.safe_load(before)) else "created")


def _known(value: object) -> bool:
    """Tell whether the file has the profile already."""
    profiles = value.get("profiles") if isinstance(value, dict) else None
    return isinstance(profiles, dict) and NAME in profiles


def _url(config: Config) -> str:
    scheme = "http" if config.server.tls.cert is None else "https"
    return f"{scheme}://localhost:{config.server.port}"
