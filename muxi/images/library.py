"""All that is kept of images and models, put together as the configuration says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.download.downloader import Downloader
from muxi.images.mirror import Mirror
from muxi.images.models import ModelCache
from muxi.images.rce import RceImages
from muxi.images.store import ImageStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.config.model import Config

RUNTIMES = "runtimes"
RCE = "rce"
"""Their directories, in the data directory."""


@dataclass(frozen=True, slots=True)
class Library:
    """The runtime's images, the code runner's, and the embedding models; one downloader for all."""

    downloader: Downloader
    store: ImageStore
    rce: RceImages
    models: ModelCache


def library(config: Callable[[], Config]) -> Library:
    """Make one of what `config` says at each use; the directories are those that it says now."""
    now = config()
    downloader = Downloader(lambda: config().download, lambda: config().formations.disk_reserve)
    mirror = Mirror(downloader, lambda: config().runtime.sif_base_url)
    return Library(
        downloader,
        ImageStore(now.paths.data_dir / RUNTIMES, mirror, downloader, lambda: config().runtime),
        RceImages(now.paths.data_dir / now.rce.data_dir / RCE, downloader, lambda: config().download),
        ModelCache(now.paths.cache_dir, downloader, lambda: config().download),
    )
