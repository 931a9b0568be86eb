"""Debian's archive, by an index of our own: the machine's lists and sources stay as they are."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from build.errors import CannotBuildError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: How apt tells of the archives that the machine knows.
ARCHIVES = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(RELEASE)", "Created-By: Packages"]


class Archive:
    """What can be had of the Debian that this machine is, and of other suites on the same mirror.

    What apt fetches is verified by the archive's signature. Raises CannotBuildError where there is no
    apt, or it knows no mirror.
    """

    def __init__(self, home: Path, *, suite: str, kind: str = "deb") -> None:
        if shutil.which("apt-get") is None:
            raise CannotBuildError("this is not Debian")
        self.home = home
        (home / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        own = _own_archives()
        (home / "sources.list").write_text(sources(kind, own, suite))
        settings = {
            "Dir::Etc::sourcelist": home / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": home / "lists",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            # Its own user can't write into `home`; without it, apt warns of that at each file.
            "APT::Sandbox::User": "root",
        }
        self._settings = [f"-o{name}={value}" for name, value in settings.items()]
        self._run("apt-get", "-qq", "update")

    def versions(self, package: str) -> list[str]:
        listing = self._run("apt-cache", "madison", package)
        return [line.split("|")[1].strip() for line in listing.splitlines()]

    def download_source(self, package: str, version: str) -> None:
        """Put the files of a source package into `home`."""
        self._run("apt-get", "-qq", "source", "--download-only", f"{package}={version}")

    def download(self, packages: Iterable[str]) -> list[Path]:
        """Put packages into `home`, and return the files. `name/suite` is the one of that suite."""
        before = set(self.home.glob("*.deb"))
        self._run("apt-get", "-qq", "download", *packages)
        return sorted(set(self.home.glob("*.deb")) - before)

    def _run(self, tool: str, *arguments: str) -> str:
        return _run([tool, *self._settings, *arguments], self.home)


def sources(kind: str, own: list[tuple[str, str]], suite: str) -> str:
    """Write apt's list for a suite from the mirror of `own`, and for these themselves if it is of programs.

    Raises CannotBuildError if there is no mirror among them: of security updates there is another one.
    """
    mirror = next((uri for uri, _ in own if not uri.rstrip("/").endswith("-security")), None)
    if mirror is None:
        raise CannotBuildError("apt knows no mirror of Debian's")
    archives = [*own, (mirror, suite)] if kind == "deb" else [(mirror, suite)]
    return "".join(f"{kind} {uri} {name} main\n" for uri, name in archives)


def _own_archives() -> list[tuple[str, str]]:
    """Return the address and the suite of each archive of Debian's that this machine installs from."""
    found = (line.split() for line in _run(ARCHIVES).splitlines())
    return list(dict.fromkeys((line[1], line[2]) for line in found if len(line) == 3 and line[0] == "Debian"))


def _run(command: list[str], directory: Path | None = None) -> str:
    return subprocess.run(command, cwd=directory, check=True, stdout=subprocess.PIPE, text=True).stdout
