"""Taking over, at the first start, the data of the original server where it lies.

The original keeps a formation's releases in directories that change places: `current/`,
`previous/`, while it updates `staging/`, while it rolls back `temp/`. They become numbered
releases; nothing is copied but what is going to be changed, which `formations/.backup/` keeps:
version.json, state files, `staging/` and leftover `temp/` themselves.

First a plan is written beside the formation's files; then it is carried out in steps that can be
repeated; then it is removed. So a start that is killed anywhere is made good by the next one.
Everything here blocks.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec
import structlog

from muxi.errors import BundleError, StorageError
from muxi.files import PRIVATE_DIRECTORY, atomic_write, sync_directory
from muxi.formation import versions
from muxi.formation.disk import disk_work, remove_temporaries, remove_tree
from muxi.formation.fields import Fields
from muxi.formation.identifier import id_problem
from muxi.formation.manifest import DEFAULT_VERSION, FILE_NAMES
from muxi.formation.state import SIDES, STATE_FILES, adopt_state, keep_seeds
from muxi.formation.versions import VersionEntry, VersionFile, version_file
from muxi.formation.yaml_tree import YamlProblem, read_mapping
from muxi.registry.original import is_original, read_original
from muxi.registry.records import encode

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

log = structlog.get_logger()

PLAN = ".takeover.json"
BACKUP = ".backup"
REGISTRY_BACKUP = "registry.json.v1"

Place = Literal["current", "previous", "temp"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a formation's directories: which is which release, and what is only kept.

    `releases` are directories and their numbers, the current one first; `aside` directories go to
    `backup`, a name below the backups.
    """

    releases: tuple[tuple[str, int], ...]
    aside: tuple[str, ...]
    versions: VersionFile
    backup: str


def take_over(formations_dir: Path, registry: Path) -> None:
    """Bring the original's directories and registry into this server's form, where there are any.

    The registry comes last: as long as it is the original's, the next start begins again. Raises
    StorageError.
    """
    with disk_work("take over the data of an earlier server"):
        if not formations_dir.is_dir():
            return
        for home in sorted(formations_dir.iterdir()):
            if id_problem(home.name) is None and home.is_dir() and not home.is_symlink():
                _take_over_formation(home)
        _take_over_registry(formations_dir, registry)


def choose(found: Collection[str]) -> tuple[Place, Place | None] | None:
    """Say which directories hold the current and the previous release. Pure.

    `found` are the names that are directories. Its update renames current to previous, then
    staging to current; its rollback current to temp, previous to current, temp to previous. Where
    it was killed in between, the release that was current before counts.
    """
    if "temp" in found and not {"current", "previous"} <= set(found):
        others: tuple[Place, ...] = ("current", "previous")
        return "temp", next((name for name in others if name in found), None)
    if "current" in found:
        return "current", "previous" if "previous" in found else None
    return ("previous", None) if "previous" in found else None


def _take_over_formation(home: Path) -> None:
    remove_temporaries(home, PLAN)
    plan = _read_plan(home)
    if plan is None:
        plan = _make_plan(home)
        if plan is None:
            return
        log.info("taking over a formation of an earlier server", formation_id=home.name)
        _back_up(home, plan)
        atomic_write(home / PLAN, msgspec.json.encode(plan))
    _carry_out(home, plan)
    (home / PLAN).unlink()
    sync_directory(home)


def _read_plan(home: Path) -> Plan | None:
    try:
        return msgspec.json.decode((home / PLAN).read_bytes(), type=Plan)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise StorageError(
            f"{home / PLAN} is damaged: {error}.",
            cure=f"Move {home} out of the formations' directory, start, and deploy the formation again.",
        ) from error


def _make_plan(home: Path) -> Plan | None:
    names = {path.name for path in home.iterdir() if path.is_dir() and not path.is_symlink()}
    chosen = choose(names)
    if chosen is None:
        return None
    entries = _entries(home, *chosen)
    pairs = zip(filter(None, chosen), entries, strict=True)
    return Plan(
        releases=tuple((name, entry.version) for name, entry in pairs),
        aside=tuple(sorted(names & {"staging", "temp"} - set(chosen))),
        versions=version_file(entries),
        backup=f"{home.name}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}",
    )


def _entries(home: Path, current: str, previous: str | None) -> tuple[VersionEntry, ...]:
    """Make the entries of version.json out of the original's, or of the directories where it has none."""
    known: VersionFile | None = None
    with suppress(StorageError):
        known = versions.load(home)
    first = _entry(home / current, None if known is None else known.current, 1)
    if previous is None:
        return (first,)
    second = _entry(home / previous, None if known is None else known.previous, first.version - 1)
    if second.version < 1 or second.version == first.version:  # without a record of them
        first = msgspec.structs.replace(first, version=first.version + 1)
        second = msgspec.structs.replace(second, version=first.version - 1)
    return first, second


def _entry(directory: Path, known: VersionEntry | None, number: int) -> VersionEntry:
    semantic = _semantic(directory)
    if known is not None:
        return msgspec.structs.replace(known, semantic=semantic)
    made = datetime.fromtimestamp(directory.stat().st_mtime, UTC).isoformat()
    return VersionEntry(version=number, deployed_at=made, bundle_hash="", semantic=semantic)


def _semantic(directory: Path) -> str:
    """Return the manifest's version, also of one that this server would not deploy; "" if there is none."""
    for name in FILE_NAMES:
        with suppress(FileNotFoundError, YamlProblem):
            fields = Fields(read_mapping((directory / name).read_bytes()), [])
            return fields.line("version") or DEFAULT_VERSION
    return ""


def _back_up(home: Path, plan: Plan) -> None:
    """Copy what is going to be changed; the copy appears as a whole or not at all."""
    backups = home.parent / BACKUP
    partial = backups / f"{plan.backup}.partial"
    remove_tree(partial)
    partial.mkdir(mode=PRIVATE_DIRECTORY, parents=True)
    for name, _ in plan.releases:
        (partial / name).mkdir(mode=PRIVATE_DIRECTORY)
        for state in (*STATE_FILES, *SIDES):
            if (home / name / state).is_file():
                shutil.copy2(home / name / state, partial / name / state)
    if (home / versions.FILE_NAME).is_file():
        shutil.copy2(home / versions.FILE_NAME, partial / versions.FILE_NAME)
    partial.rename(backups / plan.backup)
    sync_directory(backups)


def _carry_out(home: Path, plan: Plan) -> None:
    """Do every step that is not done yet. Writing version.json is the last but for the links."""
    for name in ("releases", "state"):
        (home / name).mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
    for name, number in plan.releases:
        target = home / "releases" / str(number)
        if _is_directory(home / name) and not target.exists():
            (home / name).rename(target)
    for name in plan.aside:
        if _is_directory(home / name):
            (home / name).rename(home.parent / BACKUP / plan.backup / name)
    for directory in (home / "releases", home.parent / BACKUP / plan.backup, home):
        sync_directory(directory)
    for _, number in plan.releases:  # the current one first: its state is the formation's
        try:
            adopt_state(home / "releases" / str(number), home / "state", number)
        except BundleError as error:
            log.warning("state not shared", formation_id=home.name, reason=error.message)
        keep_seeds(home / "state")
    versions.save(home, plan.versions)


def _take_over_registry(formations_dir: Path, registry: Path) -> None:
    try:
        data = registry.read_bytes()
    except FileNotFoundError:
        return
    if not is_original(data):
        return
    try:
        records = read_original(data)
    except ValueError as error:
        raise StorageError(
            f"{registry} is of an earlier server and damaged: {error}.",
            cure=f"Move it away: formations are found from {formations_dir} as well.",
        ) from error
    kept = registry.with_name(REGISTRY_BACKUP)
    if not kept.exists() or kept.read_bytes() != data:
        if kept.exists():
            kept.replace(kept.with_name(f"{kept.name}.{time.time_ns()}"))
        atomic_write(kept, data)
    for record in records:
        found = versions.load(formations_dir / record.id)
        if found is not None:
            record.semantic = found.current.semantic or record.semantic
            record.bundle_hash = found.current.bundle_hash or record.bundle_hash
    atomic_write(registry, encode(records, time.time()))
    log.info("took over the registry of an earlier server", formations=len(records), kept=str(kept))


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
