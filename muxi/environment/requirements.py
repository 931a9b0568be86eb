"""What a bundle says that it needs of Python packages, and in which of its files.

requirements.txt goes before uv.lock, and that before the dependencies in pyproject.toml. The
bundle's code itself is not installed: it runs from where it is.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal

from muxi.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIREMENTS: Final = "requirements.txt"
PROJECT: Final = "pyproject.toml"
LOCK: Final = "uv.lock"
MAX_SIZE: Final = 4 * 1024 * 1024
MAX_FILES: Final = 50

Source = Literal["requirements.txt", "uv.lock", "pyproject.toml", "server"]

_CONTINUED: Final = re.compile(r"\\\r?\n")
_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_INCLUDE: Final = re.compile(r"(?:-r|--requirement|-c|--constraint)(?:\s*=\s*|\s*)(\S+)")
_LOCAL: Final = re.compile(
    r"(-e\b|--editable\b"  # a project, used where it is
    r"|(-f|--find-links)[\s=]+(?!\S*://)"  # a directory of wheels
    r"|\S+\s*@\s*file:|file:|[./~]"
    r"|(?!\S*://)\S*/"
    r"|(?!\S*://)\S+\.(whl|zip|tar\.gz|tar\.bz2)\b)"
)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What is needed. Two with the same `lines` need the same.

    `lines` are those of all files, without comments, sorted. `local`: they name files of the bundle,
    so that what is made of them is that bundle's alone. `written` are lines to be installed that stand
    in no file as they are.
    """

    source: Source
    lines: tuple[str, ...]
    local: bool = False
    written: tuple[str, ...] = ()


def read_requirements(root: Path) -> Requirements | None:
    """Return what a bundle needs; None for nothing. Blocks. Raises RequestError (ParseError), OSError."""
    if (root / REQUIREMENTS).is_file():
        return _from_requirements(root)
    if (root / PROJECT).is_file():
        return _from_project(root)
    return None


def server_requirements(*lines: str) -> Requirements:
    """Return what the server itself asks for."""
    return Requirements("server", tuple(sorted(lines)), written=lines)


def _from_requirements(root: Path) -> Requirements | None:
    files: dict[PurePosixPath, list[str]] = {}
    _gather(root, PurePosixPath(REQUIREMENTS), files)
    lines = sorted({line for found in files.values() for line in found})
    if not lines:
        return None
    return Requirements(REQUIREMENTS, tuple(lines), local=any(map(_LOCAL.match, lines)))


def _gather(root: Path, name: PurePosixPath, files: dict[PurePosixPath, list[str]]) -> None:
    """Read a file and those that it includes; the lines that include them are left out."""
    if len(files) >= MAX_FILES:
        raise _wrong(REQUIREMENTS, f"includes more than {MAX_FILES} files")
    lines = files[name] = []
    for line in plain_lines(_text(root, str(name))):
        included = _INCLUDE.fullmatch(line)
        if included is None:
            lines.append(line)
            continue
        inner = _inside(name, included[1])
        if inner is None or not (root / inner).is_file():
            raise _wrong(str(name), f"includes '{included[1]}', which is not in the bundle")
        if line.startswith(("-c", "--constraint")):
            lines.append("-c")  # with the same lines as requirements it would be another thing
        if inner not in files:
            _gather(root, inner, files)


def plain_lines(text: str) -> list[str]:
    """Return what a requirements file says, a line each, without comments and needless blanks. Pure."""
    joined = _CONTINUED.sub(" ", text)
    lines = (" ".join(_COMMENT.sub("", line).split()) for line in joined.splitlines())
    return [line for line in lines if line]


def _inside(name: PurePosixPath, included: str) -> PurePosixPath | None:
    """Return where an included file is, as seen from the bundle's top; None: outside."""
    parts: list[str] = []
    for part in (name.parent / included.strip("'\"")).parts:
        if part == "/" or (part == ".." and not parts):
            return None
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts) if "://" not in included else None


def _from_project(root: Path) -> Requirements | None:
    project = _toml(root, PROJECT)
    if (root / LOCK).is_file():
        lock = _toml(root, LOCK)
        digests = (
            f"{name} {hashlib.sha256(_text(root, name).encode()).hexdigest()}" for name in (LOCK, PROJECT)
        )
        return Requirements(LOCK, tuple(digests), local=_locks_directories(lock))
    table = project.get("project")
    if not isinstance(table, dict):
        return None
    if "dependencies" in table.get("dynamic", ()):
        raise _wrong(PROJECT, "has `dynamic` dependencies, which only building it would tell")
    wanted = table.get("dependencies", [])
    if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
        raise _wrong(PROJECT, "has `dependencies` that are no list of texts")
    lines = tuple(sorted({" ".join(one.split()) for one in wanted}))
    if not lines:
        return None
    return Requirements(PROJECT, lines, local=any("file:" in line for line in lines), written=lines)


def _locks_directories(lock: Mapping[str, object]) -> bool:
    """Say whether a lock names packages that are directories or files, besides the project itself."""
    packages = lock.get("package")
    sources = (
        (one.get("source") for one in packages if isinstance(one, dict)) if isinstance(packages, list) else ()
    )
    return any(
        isinstance(source, dict) and source.get(kind, ".") != "."
        for source in sources
        for kind in ("editable", "directory", "virtual", "path")
    )


def _toml(root: Path, name: str) -> dict[str, object]:
    try:
        return tomllib.loads(_text(root, name))
    except tomllib.TOMLDecodeError as error:
        raise _wrong(name, f"is not TOML: {error}") from None


def _text(root: Path, name: str) -> str:
    with (root / name).open("rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise _wrong(name, f"is larger than {MAX_SIZE:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(name, f"is not UTF-8 text (byte {error.start})") from None


def _wrong(name: str, problem: str) -> RequestError:
    return RequestError(
        f"{name} {problem}.",
        code="ParseError",
        stage="validating",
        cure=f"Correct {name}, or write `environment: false` into the manifest to run without one.",
    )
