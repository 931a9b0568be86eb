"""Versions of the MUXI runtime as requirements of its package, and back. Pure, but for what is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxi.images.versions import parse_version

if TYPE_CHECKING:
    from muxi.environment.store import Environments
    from muxi.images.versions import Version, Wanted

PACKAGE: Final = "muxi-runtime"


def requirement(wanted: Wanted | str) -> str:
    """Return what an installer is asked for: an exact version, or any that begins with these numbers."""
    if isinstance(wanted, str):
        return f"{PACKAGE}=={wanted}"
    numbers = ".".join(map(str, wanted.numbers))
    if not numbers:
        return PACKAGE
    return f"{PACKAGE}=={numbers}" if wanted.exact is not None else f"{PACKAGE}=={numbers}.*"


def installed_versions(environments: Environments) -> list[Version]:
    """Return the versions that environments have been made of. Blocks. Raises OSError."""
    lines = (line for one in environments.list() for line in one.record.requirements)
    found = (parse_version(line.removeprefix(f"{PACKAGE}==")) for line in lines if line.startswith(PACKAGE))
    return [version for version in found if version is not None]
