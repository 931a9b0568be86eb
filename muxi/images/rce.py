"""The images of the code runner (skills RCE), which the sidecar runs on under Apptainer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxi.disk import disk_work
from muxi.download.failure import DownloadError
from muxi.errors import OperatorError
from muxi.images.mirror import find, latest_release
from muxi.images.names import architecture, rce_name, read_rce_name
from muxi.images.report import tell_nobody, telling
from muxi.images.versions import parse_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muxi.config.download import DownloadConfig
    from muxi.download.downloader import Downloader
    from muxi.images.mirror import Found
    from muxi.images.report import Report
    from muxi.images.versions import Version

EXECUTABLE = 0o755


class RceImages:
    """Image files in the code runner's directory, and the releases page that they come from."""

    def __init__(
        self,
        directory: Path,
        downloader: Downloader,
        settings: Callable[[], DownloadConfig],
        *,
        arch: str | None = None,
    ) -> None:
        self._directory = directory
        self._downloader = downloader
        self._settings = settings
        self._arch = arch or architecture()

    async def installed(self) -> Path | None:
        """Return the newest that is here, None if none is. Asks no network. Raises StorageError."""
        with disk_work(f"look into {self._directory}"):
            found = await trio.to_thread.run_sync(self._here)
        return self._directory / rce_name(max(found), self._arch) if found else None

    async def ensure(self, report: Report = tell_nobody, *, download: bool = True) -> Path:
        """Return the newest that is here; only if none is, fetch the latest. Raises OperatorError."""
        here = await self.installed()
        if here is not None:
            return here
        if not download:
            raise OperatorError(
                "The code runner's image is not installed here, and this server downloads none by itself.",
                code="RuntimeNotInstalled",
                status=503,
                cure="Install it: muxi-server runtime install rce - or set runtime.auto_download.",
            )
        return await self.install(report)

    async def install(self, report: Report = tell_nobody, version: str | None = None) -> Path:
        """Fetch a version, the latest by default; one that is here is taken. Raises OperatorError."""
        exact = await self._exact(version)
        name = rce_name(exact, self._arch)
        path = self._directory / name
        if await trio.to_thread.run_sync(path.is_file):
            return path
        found = await self._place(exact)
        tell = telling(report, f"skills-rce {exact}", version=str(exact))
        return await self._downloader.fetch(
            found.url, path, sha256=found.sha256, mode=EXECUTABLE, report=tell
        )

    async def size(self) -> int | None:
        """Ask how long the latest one is; None where that is not said. Raises OperatorError."""
        place = await self._place(await self._exact(None))
        return await self._downloader.size(place.url)

    async def _exact(self, version: str | None) -> Version:
        releases = self._settings().rce_url
        exact = parse_version(version) if version else await latest_release(self._downloader, releases)
        if exact is None:
            raise DownloadError(
                "The latest version of the code runner could not be learned."
                if version is None
                else f"'{version}' is not an exact version.",
                cure="Name one: muxi-server runtime install rce:1.2.3 - or see download.rce_url.",
            )
        return exact

    async def _place(self, version: Version) -> Found:
        releases, name = self._settings().rce_url, rce_name(version, self._arch)
        urls = (
            f"{releases}/download/v{version}/{name}",
            f"{releases}/{version}/{name}",
            f"{releases}/{name}",
        )
        return await find(self._downloader, urls, name)

    def _here(self) -> list[Version]:
        if not self._directory.is_dir():
            return []
        names = (path.name for path in self._directory.iterdir() if path.is_file())
        return [version for name in names if (version := read_rce_name(name, self._arch)) is not None]
