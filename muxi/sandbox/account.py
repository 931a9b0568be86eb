"""The account that native formations run under, when the server is root and its operator has named one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from muxi.errors import OperatorError
from muxi.process.user import User

if TYPE_CHECKING:
    from pathlib import Path

try:
    import pwd
except ImportError:  # Windows
    pwd = None  # type: ignore[assignment] # asked before each use


def find_user(name: str, base: Path) -> User | None:
    """Return the user of this name; None for nobody, and for who we are anyway. Raises OperatorError."""
    if not name:
        return None
    if pwd is None:
        raise _impossible(name, "this system has no such users")
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise _impossible(name, "there is no such user") from None
    if found.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise _impossible(name, "only root may start processes as somebody else, and this server is not root")
    groups = tuple(os.getgrouplist(name, found.pw_gid))
    return User(name, found.pw_uid, found.pw_gid, groups, base)


def _impossible(name: str, why: str) -> OperatorError:
    return OperatorError(
        f"Formations can't run as the user '{name}' (formations.user): {why}.",
        code="UserError",
        stage="resolving_runtime",
        cure="Make the user (useradd --system --no-create-home), or change `formations.user`.",
    )
