"""What makes an environment: uv, or Python's own venv with pip. Only the commands are made here. Pure.

Settings reach both in a requirements file of our own, because an index's address may hold a
password, and a command line is for everybody to read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from muxi.environment.requirements import LOCK, REQUIREMENTS
from muxi.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from muxi.config.environments import EnvironmentsConfig
    from muxi.environment.interpreter import Interpreter
    from muxi.environment.recipe import Recipe

Argv = tuple[str, ...]

PASSED_ON: Final = (
    *(name for word in ("HTTP", "HTTPS", "ALL", "NO") for name in (f"{word}_PROXY", f"{word}_proxy".lower())),
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT",
    "HOME", "LOGNAME", "USER", "NETRC", "SYSTEMROOT",
)  # fmt: skip
"""What installers get of the server's environment: the way out of the house, and where its user's
own settings and passwords for indexes are."""

_LOCKED: Final = "locked.txt"
_WRITTEN: Final = "written.txt"
_SETTINGS: Final = "settings.txt"
_PINNED: Final = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where an environment is made: `target` is its place, `scratch` what is thrown away afterwards."""

    target: Path
    scratch: Path

    @property
    def python(self) -> Path:
        return programs(self.target) / ("python.exe" if os.name == "nt" else "python")

    @property
    def answer(self) -> Path:
        """Where an installer writes which version it has found."""
        return self.scratch / "answer"

    def files(self, recipe: Recipe) -> Mapping[Path, str]:
        """Return the files that the commands read."""
        settings, written = _setting_lines(recipe.settings), recipe.requirements.written
        found = {self.scratch / _SETTINGS: settings, self.scratch / _WRITTEN: written}
        return {path: "".join(f"{line}\n" for line in lines) for path, lines in found.items() if lines}

    def inputs(self, recipe: Recipe) -> Argv:
        """Return the requirements files to install: that of the settings first, then what is wanted."""
        own = str(recipe.root / REQUIREMENTS)
        wanted = {REQUIREMENTS: own, LOCK: str(self.scratch / _LOCKED)}
        settings = (str(self.scratch / _SETTINGS),) if _setting_lines(recipe.settings) else ()
        chosen = wanted.get(recipe.requirements.source, str(self.scratch / _WRITTEN))
        return (*settings, *((chosen,) if recipe.requirements.lines else ()))


class Pip:
    """Python's own means: the module venv, and the pip that comes with it."""

    name = "pip"

    def commands(self, recipe: Recipe, workshop: Workshop) -> tuple[Argv, ...]:
        python = str(workshop.python)
        make = (str(recipe.interpreter.path), "-I", "-m", "venv", str(workshop.target))
        install = (*_pip(python), "install", *_wanted(recipe, workshop))
        return (make, install) if recipe.requirements.lines else (make,)

    def resolving(self, python: Path, recipe: Recipe, workshop: Workshop) -> Argv:
        """Return what tells, without installing it, which version the one requirement gets.

        The answer is left in a file, since what is printed is for people.
        """
        report = ("--dry-run", "--ignore-installed", "--no-deps", "--report", str(workshop.answer))
        return (*_pip(str(python)), "install", *report, *_wanted(recipe, workshop))

    def resolved(self, answer: str) -> str | None:
        """Read the version out of it; None when there is none."""
        try:
            return str(json.loads(answer)["install"][0]["metadata"]["version"])
        except (ValueError, LookupError, TypeError):
            return None


class Uv:
    """uv, at this path: the same and faster, and the only one that reads its lock file."""

    name = "uv"

    def __init__(self, path: str) -> None:
        self.path = path

    def commands(self, recipe: Recipe, workshop: Workshop) -> tuple[Argv, ...]:
        python = str(recipe.interpreter.path)
        make = (self.path, "venv", "--no-project", "--python", python, str(workshop.target))
        export = (
            self.path, "export", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--quiet",
            "--project", str(recipe.root), "--python", python,
            "--output-file", str(workshop.scratch / _LOCKED),
        )  # fmt: skip
        into = ("--python", str(workshop.python), "--compile-bytecode")
        install = (self.path, "pip", "install", *into, *_wanted(recipe, workshop))
        return (make, export, install) if recipe.requirements.source == LOCK else (make, install)

    def resolving(self, python: Path, recipe: Recipe, workshop: Workshop) -> Argv:
        """See `Pip.resolving`."""
        quiet = ("--no-deps", "--no-header", "--no-annotate", "--quiet")
        into = ("--python", str(python), "--output-file", str(workshop.answer))
        return (self.path, "pip", "compile", *quiet, *into, *workshop.inputs(recipe))

    def resolved(self, answer: str) -> str | None:
        """See `Pip.resolved`."""
        return next((match[2] for line in answer.splitlines() if (match := _PINNED.match(line))), None)


def choose_installer(
    settings: EnvironmentsConfig, search_path: str, find: Callable[[str, str], str | None] | None = None
) -> Pip | Uv:
    """Return the installer that the settings ask for. Raises OperatorError where that is not here."""
    found = None if settings.installer == "pip" else (find or _which)("uv", search_path)
    if found is not None:
        return Uv(found)
    if settings.installer == "uv":
        raise OperatorError(
            f"uv, which is to make Python environments, was not found on the PATH ({search_path}).",
            code="InstallerNotFound",
            stage="installing",
            cure="Install uv, or set environments.installer to auto.",
        )
    return Pip()


def check_installer(installer: Pip | Uv, interpreter: Interpreter, source: str) -> None:
    """Say what would keep an installer from its work. Raises OperatorError."""
    if isinstance(installer, Uv):
        return
    if source == LOCK:
        raise OperatorError(
            "The bundle's packages are locked in uv.lock, which only uv can read, and uv is not here.",
            code="InstallerNotFound",
            stage="installing",
            cure="Install uv on the server, or put a requirements.txt into the bundle (uv export).",
        )
    if not interpreter.has_pip:
        number = ".".join(map(str, interpreter.version[:2]))
        raise OperatorError(
            f"Python {interpreter.number} ({interpreter.path}) has no venv or ensurepip for environments.",
            code="InstallerNotFound",
            stage="installing",
            cure=f"Install uv, or the missing parts (on Debian: apt install python{number}-venv).",
        )


def installer_environment(
    environment: Mapping[str, str], search_path: str, cache_dir: Path, scratch: Path
) -> dict[str, str]:
    """Return the variables that installers run with: none of Python's, none of the server's own."""
    return {
        **{name: environment[name] for name in PASSED_ON if name in environment},
        "PATH": search_path,
        "LANG": "C.UTF-8",
        "TMPDIR": str(scratch),
        "NO_COLOR": "1",
        "PIP_CACHE_DIR": str(cache_dir / "pip"),
        "PIP_NO_INPUT": "1",
        "PIP_NO_COLOR": "1",
        "PIP_PROGRESS_BAR": "off",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "UV_CACHE_DIR": str(cache_dir / "uv"),
        "UV_NO_PROGRESS": "1",
        "UV_COMPILE_BYTECODE_TIMEOUT": "0",  # the whole has a deadline
        "UV_PYTHON_DOWNLOADS": "never",
        "GIT_TERMINAL_PROMPT": "0",
    }


def programs(environment: Path) -> Path:
    """Return where an environment's programs are."""
    return environment / ("Scripts" if os.name == "nt" else "bin")


def _wanted(recipe: Recipe, workshop: Workshop) -> Argv:
    hashes = ("--require-hashes",) if recipe.settings.require_hashes else ()
    return (*(word for path in workshop.inputs(recipe) for word in ("-r", path)), *hashes)


def _pip(python: str) -> Argv:
    return (python, "-I", "-m", "pip", "--no-input", "--disable-pip-version-check")


def _setting_lines(settings: EnvironmentsConfig) -> list[str]:
    lines = [f"--index-url {settings.index_url}"] if settings.index_url else []
    lines += [f"--extra-index-url {url}" for url in settings.extra_index_urls]
    lines += [f"--find-links {place}" for place in settings.find_links]
    return [*lines, "--no-index"] if settings.no_index else lines


def _which(name: str, search_path: str) -> str | None:
    return shutil.which(name, path=search_path)
