"""Which directory a development run is of. Blocks."""

from __future__ import annotations

from pathlib import Path

from muxi.errors import NotFound, RequestError
from muxi.formation.identifier import id_problem
from muxi.formation.manifest import FILE_NAMES


def find_directory(path: object, formation_id: object, formations_dir: Path) -> Path:
    """Return the directory that a request names: an absolute path, or else a formation's draft.

    Raises RequestError and NotFound.
    """
    if path not in (None, ""):
        return _of_path(path)
    if formation_id in (None, ""):
        raise RequestError(
            "Either path or formation_id is required", code="InvalidPayload", cure="Send one of them."
        )
    return _of_draft(formation_id, formations_dir)


def _of_path(path: object) -> Path:
    if not isinstance(path, str) or "\0" in path or not Path(path).is_absolute():
        raise RequestError("path must be absolute", code="InvalidPath", cure="Send the whole path.")
    directory = Path(path)
    if not directory.is_dir():
        raise RequestError(f"directory not found: {path}", code="DirectoryNotFound")
    if not any((directory / name).is_file() for name in FILE_NAMES):
        raise RequestError(
            f"formation.afs not found in {path}", code="ParseError", cure="Name a formation's directory."
        )
    return directory


def _of_draft(formation_id: object, formations_dir: Path) -> Path:
    # Checked before it becomes part of a path.
    problem = id_problem(formation_id) if isinstance(formation_id, str) else "must be a text"
    if problem is not None:
        raise RequestError(f"Invalid formation_id: formation ID {problem}", code="InvalidFormationID")
    directory = formations_dir / str(formation_id) / "draft"
    if not directory.is_dir():
        raise NotFound(
            f"draft directory not found for formation '{formation_id}'",
            code="DraftNotFound",
            cure="Begin a draft first, or name a directory by its path.",
        )
    return directory
