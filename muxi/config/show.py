"""What `config show` tells: sections for people, a plain dictionary for programs; secrets masked. Pure."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from muxi.auth.credentials import KeyPair, mask_id, mask_secret
from muxi.config.values import format_duration, hide_credentials

if TYPE_CHECKING:
    from muxi.config.model import AuthConfig, Config, FormationsConfig

_USER_INFO = re.compile(r"^(https?://)[^/]*@", re.IGNORECASE)
"""The user and password that the address of a mirror may hold."""


class Section(NamedTuple):
    """A heading with its lines of label and value."""

    title: str
    rows: tuple[tuple[str, str], ...]


def sections(config: Config) -> tuple[Section, ...]:
    """Return what people look for first, in the order of the original."""
    server = config.server
    return (
        Section(
            "Server",
            (("ID", config.server_id or "(not set)"), ("Host", server.host), ("Port", str(server.port))),
        ),
        Section("Authentication", _authentication(config.auth)),
        Section("Formations", _formations(config.formations)),
    )


def _authentication(auth: AuthConfig) -> tuple[tuple[str, str], ...]:
    keys: list[tuple[str, str]] = []
    for pair in auth.keys:
        keys += [("Key", mask_id(pair.id)), ("Secret", mask_secret(pair.secret))]
    tolerance = ("Timestamp Tolerance", format_duration(auth.timestamp_tolerance))
    return (("Enabled", _yes(auth.enabled)), *(keys or [("Key", "(none)")]), tolerance)


def _formations(formations: FormationsConfig) -> tuple[tuple[str, str], ...]:
    start, end = formations.port_range
    return (
        ("Runtime Type", formations.runtime_type),
        ("Port Range", f"{start}-{end - 1}"),
        ("Logs Directory", str(formations.logs_dir)),
        ("Auto Restart", _yes(formations.auto_restart)),
        ("Max Restarts", str(formations.max_restarts)),
    )


def as_dict(config: Config) -> dict[str, object]:
    """Return all settings as JSON values; durations in seconds, sizes in bytes, secrets masked."""
    plain = _plain(config)
    assert isinstance(plain, dict)
    if config.rce.auth_token:
        plain["rce"]["auth_token"] = mask_secret(config.rce.auth_token)
    if config.metrics.token:
        plain["metrics"]["token"] = mask_secret(config.metrics.token)
    return plain


def _plain(value: object) -> object:
    if isinstance(value, KeyPair):
        return {"id": mask_id(value.id), "secret": mask_secret(value.secret)}
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, str):
        return hide_credentials(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return _USER_INFO.sub(r"\1***@", value)
    return str(value) if isinstance(value, Path) else value


def _yes(on: bool) -> str:
    return "true" if on else "false"
