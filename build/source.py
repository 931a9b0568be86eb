"""CPython's source: from the cache, its maker, or Debian's mirror; the same file wherever it is from."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING

from build.apt import Archive
from build.errors import CannotBuildError

if TYPE_CHECKING:
    from pathlib import Path

    from build.options import CPython

TIMEOUT_SECONDS = 60.0
#: Where a person can put it, who has it from elsewhere.
VARIABLE = "CPYTHON_SOURCE"


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
    archive = Archive(target.parent / "apt", suite=options.debian_suite, kind="deb-src")
    package = options.debian_package
    versions = archive.versions(package)
    for version in versions:
        if version.startswith(f"{options.version}-"):
            archive.download_source(package, version)
            next(archive.home.glob(f"{package}_{options.version}.orig.tar.*z")).replace(target)
            return
    raise CannotBuildError(f"{package} is there as {', '.join(versions)} only")
