"""Finding references to secrets in a bundle, and whether it brings what they need. Nothing is decrypted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from muxi.errors import RequestError
from muxi.formation.disk import disk_work
from muxi.formation.yaml_tree import MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEEDED_FILES = ("secrets.enc", ".key")
SUFFIXES = frozenset({".afs", ".yaml", ".yml"})

_REFERENCE = re.compile(rb"\$\{\{\s*secrets\s*\.\s*([A-Za-z0-9_][A-Za-z0-9_-]*)\s*\}\}")


def check_secrets(root: Path) -> None:
    """Make sure that a bundle which refers to secrets has the files that hold them.

    Every `.afs`, `.yaml` and `.yml` file of at most 1 MB is read, wherever in the bundle; comment
    lines don't count. Raises RequestError (SecretsError) naming each secret, where it is referred to,
    and what is missing.
    """
    with disk_work("read the bundle", stage="validating"):
        missing = [name for name in NEEDED_FILES if not (root / name).is_file()]
        if not missing:
            return
        found = {
            f"{secret} ({path.relative_to(root).as_posix()})": None
            for path in _configuration_files(root)
            for secret in references(path.read_bytes())
        }
    if found:
        raise RequestError(
            f"The formation refers to secrets, but its bundle has no {' and no '.join(missing)}: "
            f"{', '.join(found)}.",
            code="SecretsError",
            stage="validating",
            cure="Set the secrets with the CLI in the formation's directory, and deploy with secrets.enc "
            "and .key in it.",
            details={"secrets": list(found), "missing_files": missing},
        )


def references(text: bytes) -> tuple[str, ...]:
    """Return the names of the secrets that a file refers to, each once, in its order. Pure.

    Any white space may stand in a reference, line breaks too: YAML folds them.
    """
    lines = (line for line in text.splitlines() if not line.lstrip().startswith(b"#"))
    names = (match.decode("ascii") for match in _REFERENCE.findall(b"\n".join(lines)))
    return tuple(dict.fromkeys(names))


def _configuration_files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file() and path.stat().st_size <= MAX_SIZE:
            yield path
