"""Releases of the server: which is the newest, where its files are, and what their checksums are."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from muxi.download.checksums import read_published
from muxi.download.downloader import DownloadError
from muxi.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muxi.config.updates import UpdatesConfig
    from muxi.download.downloader import Downloader
    from muxi.download.progress import Progress

SUMS: Final = "SHA256SUMS"
_VERSION: Final = re.compile(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})", re.ASCII)
_SYSTEMS: Final = {"win32": "windows"}


def parse(version: str) -> tuple[int, int, int]:
    """Read a version as releases have it (ScalVer: MAJOR.YYYYMMDD.PATCH). Raises OperatorError. Pure."""
    found = _VERSION.fullmatch(version.strip())
    if found is None:
        raise OperatorError(f"{version!r} is not the version of a release.", cure="One is like 1.20261125.0")
    return int(found[1]), int(found[2]), int(found[3])


def plain(version: str) -> str:
    """Write a version without what may be around it. Raises OperatorError. Pure."""
    return ".".join(map(str, parse(version)))


def file_name(system: str = sys.platform, architecture: str = "amd64") -> str:
    """Name the program's file for a system (as in `sys.platform`) and processor. Pure."""
    suffix = ".exe" if system == "win32" else ""
    return f"muxi-server-{_SYSTEMS.get(system, system)}-{architecture}{suffix}"


@dataclass(frozen=True, slots=True)
class Releases:
    """Where releases are looked for. All methods raise OperatorError: nothing answers, or nonsense."""

    downloader: Downloader
    settings: UpdatesConfig
    file: str

    async def newest(self) -> str:
        """Return the version of the newest release: where the address of the latest one leads."""
        url = f"{self.settings.server_releases_url.rstrip('/')}/latest"
        place = (await self.downloader.fields(url)).get("location")
        if place is None:
            raise OperatorError(f"{url} does not lead to a release.", cure="Set updates.server_releases_url.")
        return plain(place.rstrip("/").rpartition("/v")[2])

    async def fetch(self, version: str, target: Path, report: Callable[[Progress], None]) -> None:
        """Have a release's program at `target`, checked by its published checksum."""
        base, sums = await self._place(version)
        expected = read_published(sums, self.file) if self.file in sums else None
        if expected is None:
            raise OperatorError(
                f"Release {version} has no checksum for {self.file}, so it can't be trusted.",
                cure="Choose another one: --version",
            )
        await self.downloader.fetch(f"{base}/{self.file}", target, sha256=expected, mode=0o755, report=report)

    async def _place(self, version: str) -> tuple[str, str]:
        """Return where a release's files are, and its checksums: from the mirror, else from its own page."""
        mirror = f"{self.settings.server_download_url.rstrip('/')}/v{version}"
        page = f"{self.settings.server_releases_url.rstrip('/')}/download/v{version}"
        for base in (mirror, page):
            try:
                return base, await self.downloader.read_text(f"{base}/{SUMS}")
            except DownloadError as error:
                if not error.missing:
                    raise
        raise OperatorError(
            f"Release {version} has no checksums ({SUMS}), or there is no such release.",
            cure="Choose another one: --version",
        )
