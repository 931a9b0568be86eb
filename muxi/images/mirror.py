"""A mirror of the runtime's images: what is the latest, which versions there are, where a file is.

Three forms of mirrors are known: `{base}/{version}/{file}`, `{base}/v{version}/{file}` (as releases
of a GitHub repository are), and all files in `{base}`. The latest version is told by
`{base}/latest.txt`, or by where GitHub's `releases/latest` leads. What else a mirror may have, and
is used then: `{base}/versions.txt`, a version a line, and a `.sha256` beside each file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from muxi.download.checksums import read_published
from muxi.download.failure import DownloadError, shown
from muxi.images.versions import Version, parse_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.download.downloader import Downloader

OWN: Final = "https://pkg.muxi.org/runtime"
RELEASES: Final = "https://github.com/muxi-ai/runtime/releases"
"""Where the latest version is asked for if the publisher's own mirror does not tell."""

INDEX_LIMIT = 256 * 1024
_GITHUB = re.compile(r"(?P<releases>https?://github\.com/[^/]+/[^/]+/releases)(/download)?", re.IGNORECASE)
_TAG = re.compile(r"/(?:download|tag)/v(\d+\.\d+\.\d+)(?:/|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """Where a file is, and its SHA-256 if that is published."""

    url: str
    sha256: str | None


class Mirror:
    """Asks a mirror. `base` is looked up at each question, as the configuration may have been read again."""

    def __init__(self, downloader: Downloader, base: Callable[[], str]) -> None:
        self._downloader = downloader
        self._base = base

    @property
    def shown(self) -> str:
        """The address, as messages may have it."""
        return shown(self._base())

    async def latest(self) -> Version:
        """Return the newest version. Raises DownloadError."""
        base = self._base()
        try:
            text = await self._downloader.read_text(f"{base}/latest.txt")
        except DownloadError:
            found = await latest_release(self._downloader, releases_of(base))
            if found is None:
                raise
            return found
        version = parse_version(text)
        if version is None:
            raise DownloadError(
                f"{shown(base)}/latest.txt does not hold a version.", cure="Check the address of the mirror."
            )
        return version

    async def versions(self) -> tuple[Version, ...] | None:
        """Return all versions; None where the mirror has no list of them. Raises DownloadError."""
        try:
            text = await self._downloader.read_text(f"{self._base()}/versions.txt", limit=INDEX_LIMIT)
        except DownloadError as error:
            if error.missing:
                return None
            raise
        return tuple(version for line in text.splitlines() if (version := parse_version(line)))

    async def find(self, version: Version, name: str) -> Found:
        """Find a file of a version. Raises DownloadError."""
        return await find(self._downloader, addresses(self._base(), version, name), name)


def addresses(base: str, version: Version, name: str) -> tuple[str, ...]:
    """Return where a file may be on a mirror, the likeliest first. Pure."""
    plain, with_v = f"{base}/{version}/{name}", f"{base}/v{version}/{name}"
    first = (with_v, plain) if _GITHUB.fullmatch(base) else (plain, with_v)
    return (*first, f"{base}/{name}")


def releases_of(base: str) -> str | None:
    """Return the releases page that knows the latest version of a mirror, None for one of one's own. Pure."""
    if base == OWN:
        return RELEASES
    found = _GITHUB.fullmatch(base)
    return found["releases"] if found else None


async def latest_release(downloader: Downloader, releases: str | None) -> Version | None:
    """Ask a releases page for its latest version: it leads to a file of that; None if it can't be told."""
    if releases is None:
        return None
    try:
        fields = await downloader.fields(f"{releases}/latest/download/version.txt")
    except DownloadError:
        return None
    found = _TAG.search(fields.get("location", ""))
    return parse_version(found[1]) if found else None


async def find(downloader: Downloader, urls: tuple[str, ...], name: str) -> Found:
    """Return the first address that has something, and the hash published beside it. Raises DownloadError."""
    for url in urls:
        if await downloader.exists(url):
            return Found(url, await _published(downloader, url, name))
    raise DownloadError(
        f"There is no {name} on the mirror ({shown(urls[0])} and other places).",
        cure="Check the version and its variant, and `runtime.sif_base_url` in the configuration.",
        missing=True,
    )


async def _published(downloader: Downloader, url: str, name: str) -> str | None:
    try:
        return read_published(await downloader.read_text(f"{url}.sha256"), name)
    except DownloadError as error:
        if error.missing:
            return None
        raise
