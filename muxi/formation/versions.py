"""version.json: which releases a formation has, and which is the current one.

The format is the original's (http-api.md section 3), which existing tools read; `semantic`,
`content_hash`, `runtime`, `older` and `receipt` are additions of ours. What becomes of the file is
computed by pure functions, `committed` and `rolled_back`; what touches the disk comes below them.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from muxi.errors import RequestError, StorageError
from muxi.files import PRIVATE_FILE, atomic_write
from muxi.registry.receipts import Receipt  # noqa: TC001 - msgspec reads it
from muxi.runtime.pin import Pin  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE_NAME = "version.json"


class VersionEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One release. `deployed_at` is RFC 3339; what follows `backup_path` are additions of ours.

    `runtime` is what it runs on, and shall run on again.
    """

    version: int
    deployed_at: str
    bundle_hash: str
    backup_path: str = ""
    semantic: str = ""
    content_hash: str = ""
    runtime: Pin | None = None


class VersionFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole file. The numbers repeat those of the entries, as existing tools read them.

    `previous` is what a rollback without a number goes to: the release that was current before.
    `older` are the others that are kept, the latest used first. `receipt` is for the request that
    made it so, if that may be sent again.
    """

    current_version: int
    current: VersionEntry
    previous_version: int | None = None
    previous: VersionEntry | None = None
    older: tuple[VersionEntry, ...] = ()
    receipt: Receipt | None = None

    @property
    def entries(self) -> tuple[VersionEntry, ...]:
        """All releases that are kept: the current one, the previous one, the older ones."""
        return (self.current, *(() if self.previous is None else (self.previous,)), *self.older)


def version_file(entries: tuple[VersionEntry, ...], receipt: Receipt | None = None) -> VersionFile:
    """Make the file of releases in the order of `VersionFile.entries`; there is at least one."""
    current, *others = entries
    previous = others[0] if others else None
    return VersionFile(
        current_version=current.version,
        current=_named(current, "current"),
        previous_version=None if previous is None else previous.version,
        previous=None if previous is None else _named(previous, "previous"),
        older=tuple(_named(entry, f"releases/{entry.version}") for entry in others[1:]),
        receipt=receipt,
    )


def committed(
    found: VersionFile | None, entry: VersionEntry, keep: int = 1, receipt: Receipt | None = None
) -> VersionFile:
    """Return what the file says once `entry` is current, and the one that was is the previous.

    `keep` older releases at most stay; the previous one always does. The same commit again
    changes nothing but what is kept. `receipt` is for the request that asked for it.
    """
    others = () if found is None else found.entries
    rest = tuple(other for other in others if other.version != entry.version)
    return version_file((entry, *rest[: max(keep, 1)]), receipt)


def rolled_back(
    found: VersionFile | None, number: int | None = None, receipt: Receipt | None = None
) -> VersionFile:
    """Return what the file says once a kept release is current again; without a number the previous.

    The one that was current becomes the previous, so the same again rolls forward. None is dropped.
    Raises RequestError (NoPreviousVersion, ReleaseNotFound).
    """
    entry = rollback_target(found, number)
    assert found is not None
    rest = tuple(other for other in found.entries if other.version != entry.version)
    return version_file((entry, *rest), receipt)


def rollback_target(found: VersionFile | None, number: int | None = None) -> VersionEntry:
    """Return the release that a rollback goes to. Raises RequestError as `rolled_back`."""
    if found is None or (number is None and found.previous is None):
        raise RequestError(
            "There is no previous version to roll back to.",
            code="NoPreviousVersion",
            stage="validating",
            cure="Deploy the older bundle again.",
        )
    wanted = (
        found.previous
        if number is None
        else next((entry for entry in found.entries if entry.version == number), None)
    )
    if wanted is None or wanted.version == found.current.version:
        kept = ", ".join(str(entry.version) for entry in found.entries[1:]) or "none"
        reason = "is the current one" if wanted is not None else "is not kept"
        raise RequestError(
            f"Release {number} {reason}; releases to roll back to: {kept}.",
            code="ReleaseNotFound",
            stage="validating",
            cure="Name one of those, or deploy the older bundle again.",
        )
    return wanted


def numbers(found: VersionFile | None) -> tuple[int, ...]:
    """Return the numbers of the releases that the file refers to."""
    return () if found is None else tuple(entry.version for entry in found.entries)


def load(home: Path) -> VersionFile | None:
    """Read the file; None if there is none. Raises StorageError if it is damaged, OSError."""
    path = home / FILE_NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = msgspec.json.decode(data, type=VersionFile)
        for entry in found.entries:
            datetime.fromisoformat(entry.deployed_at)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StorageError(
            f"{path} is damaged: {error}.",
            cure="Restore the file from a backup, or delete the formation and deploy it again.",
        ) from error
    return found


def save(home: Path, content: VersionFile) -> None:
    """Replace the file in one step. Raises OSError."""
    text = msgspec.json.format(msgspec.json.encode(content), indent=2)
    atomic_write(home / FILE_NAME, text, PRIVATE_FILE)


def receipts(base: Path, ordered: Iterable[Receipt] = ()) -> list[Receipt]:
    """Return the receipts in all formations' files below `base`, and what counts of `ordered` (blocking).

    A delete counts when the files are gone. One that is damaged has none: who brings the formation
    back says so.
    """
    found = [
        one for one in ordered if one.kind != "delete" or not (base / one.formation_id / FILE_NAME).exists()
    ]
    for home in base.iterdir():
        with suppress(StorageError, OSError):
            content = load(home)
            if content is not None and content.receipt is not None:
                found.append(content.receipt)
    return found


def _named(entry: VersionEntry, path: str) -> VersionEntry:
    return msgspec.structs.replace(entry, backup_path=path)
