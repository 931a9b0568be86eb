"""CPython's source: from the cache, its maker, or Debian's mirror; the same file wherever it is from."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from build.options import CPython

TIMEOUT_SECONDS = 60.0
#: Where a person can put it, who has it from elsewhere.
VARIABLE = "CPYTHON_SOURCE"


class CannotBuildError(Exception):
    """The binary can't be built so; the message is for whoever builds, and says why."""


def fetch(options: CPython, directory: Path) -> Path:
    """Return the source's archive, its checksum verified. Raises CannotBuildError."""
    target = directory / f"Python-{options.version}.tar.xz"
    given = os.environ.get(VARIABLE)
    if given:
        shutil.copyfile(given, target)
    reasons = []
    for get in (_kept, _from_its_maker, _from_debian):
        try:
            get(options, target)
        except (OSError, CannotBuildError, subprocess.CalledProcessError) as error:
            reasons.append(f"{get.__name__.strip('_').replace('_', ' ')}: {error}")
            continue
        if _checksum(target) == options.sha256:
            return target
        reasons.append(
            f"{get.__name__.strip('_').replace('_', ' ')}: another file than build/nuitka.cfg says"
        )
        target.unlink()
    raise CannotBuildError(
        f"the source of Python {options.version} could not be had ({'; '.join(reasons)}). "
        f"{VARIABLE}=path/to/Python-{options.version}.tar.xz names a file you have."
    )


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept(_options: CPython, target: Path) -> None:
    if not target.exists():
        raise CannotBuildError("there is none")


def _from_its_maker(options: CPython, target: Path) -> None:
    part = target.with_suffix(".part")
    with urllib.request.urlopen(options.url, timeout=TIMEOUT_SECONDS) as answer, part.open("wb") as file:
        shutil.copyfileobj(answer, file)
    part.replace(target)


def _from_debian(options: CPython, target: Path) -> None:
    """Have apt fetch it with an index of its own: the machine's lists and sources stay as they are."""
    if shutil.which("apt-get") is None:
        raise CannotBuildError("this is not Debian")
    home = target.parent / "apt"
    (home / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (home / "sources.list").write_text(f"deb-src {_mirror()} {options.debian_suite} main\n")
    settings = {
        "Dir::Etc::sourcelist": home / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": home / "lists",
    }
    with_settings = [f"-o{name}={value}" for name, value in settings.items()]
    package = options.debian_package
    _run(["apt-get", *with_settings, "-qq", "update"], home)
    listing = _run(["apt-cache", *with_settings, "madison", package], home)
    versions = [line.split("|")[1].strip() for line in listing.splitlines()]
    for version in versions:
        if version.startswith(f"{options.version}-"):
            _run(
                ["apt-get", *with_settings, "-qq", "source", "--download-only", f"{package}={version}"], home
            )
            next(home.glob(f"{package}_{options.version}.orig.tar.*z")).replace(target)
            return
    raise CannotBuildError(f"{package} is there as {', '.join(versions)} only")


def _mirror() -> str:
    listing = _run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"])
    for line in listing.splitlines():
        origin, _, uri = line.partition(" ")
        if origin == "Debian" and not uri.rstrip("/").endswith("-security"):
            return uri
    raise CannotBuildError("apt knows no mirror of Debian's")


def _run(command: list[str], directory: Path | None = None) -> str:
    return subprocess.run(command, cwd=directory, check=True, stdout=subprocess.PIPE, text=True).stdout
