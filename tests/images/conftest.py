"""A mirror that runs, and the library of an installation that uses it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from muxi.config.download import DownloadConfig
from muxi.config.model import Config, Paths, defaults
from muxi.config.runtime import RuntimeConfig
from muxi.download import retry
from muxi.download.downloader import Downloader
from muxi.images.mirror import Mirror as ImageMirror
from muxi.images.models import ModelCache
from muxi.images.rce import RceImages
from muxi.images.store import ImageStore
from tests.download.serving import QUICK, TRUST, Mirror, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass
class Shop:
    """A mirror, and a data directory that is filled from it."""

    mirror: Mirror
    data: Path
    settings: RuntimeConfig
    downloads: DownloadConfig

    def __post_init__(self) -> None:
        self.settings = replace(self.settings, sif_base_url=self.mirror.base)
        self.downloads = replace(QUICK, models_url=self.mirror.base, rce_url=self.mirror.base)
        self.downloader = Downloader(lambda: self.downloads, trust=TRUST)
        image_mirror = ImageMirror(self.downloader, lambda: self.settings.sif_base_url)
        self.store = ImageStore(
            self.data / "runtimes", image_mirror, self.downloader, lambda: self.settings, arch="amd64"
        )
        self.rce = RceImages(self.data / "rce", self.downloader, lambda: self.downloads, arch="amd64")
        self.models = ModelCache(self.data / "cache", self.downloader, lambda: self.downloads)

    def set(self, **changes: object) -> None:
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type] # the tests' own business

    def close(self) -> None:
        """Be a machine without a network."""
        self.set(sif_base_url="http://127.0.0.1:9")
        self.downloads = replace(
            self.downloads, models_url="http://127.0.0.1:9", rce_url="http://127.0.0.1:9"
        )

    def config(self) -> Config:
        root = self.data
        paths = Paths(root, root, root, root / "cache", root / "config.yaml")
        return replace(defaults(paths), runtime=self.settings, download=self.downloads)


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    async with running() as mirror:
        yield Shop(mirror, tmp_path, RuntimeConfig(), DownloadConfig())
