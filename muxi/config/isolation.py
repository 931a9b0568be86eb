"""How far formations are kept apart from the machine they run on.

The settings stand in `formations:`, flat; see `muxi.config.model` for how settings are declared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from muxi.config.limits import FormationLimits
from muxi.config.schema import Kind, choice, key, text


def _paths(written: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in written.split(",") if part.strip())
    for path in found:
        if not path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise ValueError(f"'{path}' is not an absolute path")
    return found


def _show(value: object) -> str:
    assert isinstance(value, tuple)
    return ", ".join(map(str, value))


PATHS: Kind[tuple[str, ...]] = Kind("list of paths", "absolute paths", _paths, _show, listed=True)


@dataclass(frozen=True, slots=True)
class FormationIsolation(FormationLimits):
    sandbox: str = key(
        "off",
        choice("off", "auto", "required"),
        "Whether native formations run in a sandbox (Linux): `off`, unless a manifest asks for it; `auto`, "
        "where this machine can and the manifest does not decline; `required`, or they do not run.",
    )
    sandbox_paths: tuple[str, ...] = key(
        (), PATHS, "What sandboxed formations may read besides the system: toolchains, models, data."
    )
    user: str = key(
        "",
        text(),
        "The system's user that native formations run as, when the server is root; empty: as the server.",
    )
