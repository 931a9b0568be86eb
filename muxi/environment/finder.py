"""Finding the Python that a formation asks for, by version or by path.

It is looked for on the PATH first, then where pyenv and uv keep theirs.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from muxi.environment.interpreter import Interviewer
from muxi.errors import FormationFailed, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from muxi.environment.interpreter import Interpreter

_VERSION: Final = re.compile(r"(?:python)?(\d+)(?:\.(\d+))?(?:\.(\d+))?", re.ASCII)
_NEWEST: Final = 30
"""The greatest minor version that is looked for when all are listed."""


class Finder:
    """Looks for interpreters. `environment` is the server's own, for PATH, HOME and the managers' roots."""

    def __init__(self, search_path: str, environment: Mapping[str, str]) -> None:
        self.search_path = search_path
        self._environment = environment
        self._interviewer = Interviewer({**environment, "PATH": search_path})

    def find(self, wanted: str | None = None) -> Interpreter:
        """Return the interpreter that is wanted: a version (`3.12`), an absolute path, or any (None).

        Blocks. Raises RequestError (ParseError) for what is neither, FormationFailed (PythonNotFound) with
        all that were found.
        """
        if wanted is None:
            return self._first(None, ())
        if Path(wanted).is_absolute():
            return self._at(Path(wanted))
        return self._first(wanted, parse_version(wanted))

    def at_least(self, version: tuple[int, int]) -> Interpreter | None:
        """Return the first interpreter of at least a version: that of the PATH, else the newest. Blocks."""
        for path in self._plain():
            found = self._interviewer.ask(path)
            if found is not None and found.version >= version:
                return found
        newest = max(self.all(), key=lambda one: one.version, default=None)
        return newest if newest is not None and newest.version >= version else None

    def all(self) -> list[Interpreter]:
        """Return every Python 3 that there is, each file once. Blocks."""
        found: dict[Path, Interpreter] = {}
        for path in (*self._plain(), *self._managed(())):
            self._note(found, path)
        for minor in range(_NEWEST, -1, -1):
            for path in self._on_path(f"python3.{minor}"):
                self._note(found, path)
        return list(found.values())

    def _note(self, found: dict[Path, Interpreter], path: Path) -> None:
        one = self._interviewer.ask(path)
        if one is not None:
            found.setdefault(one.real, one)

    def _at(self, path: Path) -> Interpreter:
        found = self._interviewer.ask(path)
        if found is None:
            raise self._not_found(f"There is no Python at {path}, or it does not work.")
        return found

    def _first(self, wanted: str | None, version: tuple[int, ...]) -> Interpreter:
        for path in self._candidates(version):
            found = self._interviewer.ask(path)
            if found is not None and found.version[: len(version)] == version:
                return found
        what = "Python" if wanted is None else f"Python {'.'.join(map(str, version))}"
        raise self._not_found(f"{what} was not found on this server (PATH: {self.search_path}).")

    def _candidates(self, version: tuple[int, ...]) -> Iterator[Path]:
        if len(version) > 1:
            yield from self._on_path(f"python{version[0]}.{version[1]}")
        yield from self._plain()
        yield from self._managed(version)

    def _plain(self) -> Iterator[Path]:
        yield from self._on_path("python3")
        yield from self._on_path("python")

    def _on_path(self, name: str) -> Iterator[Path]:
        """Yield each file of the name, not only the first: that may be one which does not work."""
        for directory in self.search_path.split(os.pathsep):
            found = shutil.which(name, path=directory) if directory else None
            if found is not None:
                yield Path(found).absolute()

    def _managed(self, version: tuple[int, ...]) -> list[Path]:
        """Return those that pyenv and uv keep, the newest first."""
        dotted = ".".join(map(str, version))
        found = [
            path for root, pattern in self._roots() for path in root.glob(f"{pattern}{dotted}*/bin/python")
        ]
        return sorted(found, key=_natural, reverse=True)

    def _roots(self) -> Iterator[tuple[Path, str]]:
        home = self._environment.get("HOME")
        pyenv = self._environment.get("PYENV_ROOT") or (home and f"{home}/.pyenv")
        uv = self._environment.get("UV_PYTHON_INSTALL_DIR") or (home and f"{home}/.local/share/uv/python")
        if pyenv:
            yield Path(pyenv, "versions"), ""
        if uv:
            yield Path(uv), "cpython-"

    def _not_found(self, message: str) -> FormationFailed:
        there = ", ".join(f"{one.number} ({one.path})" for one in self.all())
        return FormationFailed(
            f"{message} Found: {there or 'none'}.",
            code="PythonNotFound",
            stage="resolving_runtime",
            cure="Install it on the server, or name one that is there in the manifest's `python`.",
        )


def parse_version(text: str) -> tuple[int, ...]:
    """Read `3`, `3.12`, `3.12.1` or `python3.12`. Raises RequestError (ParseError)."""
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise RequestError(
            f"The manifest's python is '{text}', neither a version nor an absolute path.",
            code="ParseError",
            stage="validating",
            cure='Write it as "3.12", or as /usr/bin/python3.12.',
        )
    return tuple(int(part) for part in match.groups() if part is not None)


def _natural(path: Path) -> list[int]:
    """Order by the numbers in a path, so that 3.10 comes after 3.9."""
    return [int(number) for number in re.findall(r"\d+", str(path))]
