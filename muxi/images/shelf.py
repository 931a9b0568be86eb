"""The images that lie on this machine: which, how large, since when; and changing that. Blocks.

What changes something is called under the directory's lock (`ImageStore`): the server and the
command line both do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from muxi.download.part import digest
from muxi.images import records
from muxi.images.names import read_runtime_name, runtime_name
from muxi.images.records import Record
from muxi.images.versions import Version, named
from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOUCH_EVERY = 600.0
"""Seconds after which it is written down again that an image is in use."""
FRESH = 3600.0
"""Seconds for which nothing is pruned that was asked for: a deploy that needs it may be under way."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image file that is here. `sha256` is "" where it has not been taken yet."""

    version: Version
    variant: str
    path: Path
    size: int
    sha256: str = ""
    downloaded_at: str = ""
    used_at: str = ""
    pinned: bool = False

    @property
    def name(self) -> str:
        """The version with its variant, as pins and manifests have it: `1.2.3:cuda`."""
        return named(str(self.version), self.variant)


class Shelf:
    """The directory of images for machines of one architecture."""

    def __init__(self, directory: Path, arch: str, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self.arch = arch
        self._clock = clock

    def path(self, version: Version, variant: str) -> Path:
        return self.directory / runtime_name(version, variant, self.arch)

    def images(self) -> list[Image]:
        """Return what is here and whole, the newest first. Changes nothing. Raises OSError."""
        known = records.load(self.directory)
        found = []
        for path in self.directory.iterdir() if self.directory.is_dir() else ():
            name = read_runtime_name(path.name)
            if name is None or name.arch != self.arch or not path.is_file():
                continue
            image = _image(
                name.version, name.variant, path, known.get(named(str(name.version), name.variant))
            )
            if image is not None:
                found.append(image)
        return sorted(found, key=lambda image: (image.version, image.variant), reverse=True)

    def image(self, version: Version, variant: str) -> Image | None:
        """Return one of them, None if it is not here, or not whole. Raises OSError."""
        path = self.path(version, variant)
        if not path.is_file():
            return None
        record = records.load(self.directory).get(named(str(version), variant))
        return _image(version, variant, path, record)

    def use(self, version: Version, variant: str) -> Image | None:
        """Write down that one is in use now, and what it is if nobody has yet. Raises OSError."""
        image = self.image(version, variant)
        if image is None or (image.sha256 and not self._due(image)):
            return image
        return self._put(image, sha256=image.sha256 or digest(image.path))

    def pin(self, image: Image, *, pinned: bool) -> None:
        self._put(image, sha256=image.sha256 or digest(image.path), pinned=pinned)

    def remove(self, image: Image) -> None:
        """Remove a file and its record; processes that run on it keep it. Raises OSError."""
        image.path.unlink(missing_ok=True)
        known = records.load(self.directory)
        if known.pop(image.name, None) is not None:
            records.save(self.directory, known)

    def drop_damaged(self, version: Version, variant: str) -> None:
        """Remove a file that is not what its record says. Raises OSError."""
        if self.image(version, variant) is None:
            self.path(version, variant).unlink(missing_ok=True)

    def fresh(self, image: Image) -> bool:
        """Tell whether it was asked for a moment ago."""
        return self._clock() - _seconds(image.used_at) < FRESH

    def leftovers(self) -> list[Path]:
        """Return what is left of downloads that nobody has gone on with for a while. Raises OSError."""
        if not self.directory.is_dir():
            return []
        now = self._clock()
        return [
            path
            for path in sorted(self.directory.iterdir())
            if path.name.endswith((".sif.part", ".sif.part.json", ".sif.tmp"))
            and now - path.stat().st_mtime > FRESH
        ]

    def _due(self, image: Image) -> bool:
        return self._clock() - _seconds(image.used_at) > TOUCH_EVERY

    def _put(self, image: Image, *, sha256: str, pinned: bool | None = None) -> Image:
        known = records.load(self.directory)
        now = rfc3339(self._clock())
        old = known.get(image.name, Record(version=str(image.version), downloaded_at=now))
        known[image.name] = msgspec.structs.replace(
            old,
            hash=sha256,
            path=str(image.path),
            size=image.size,
            variant=image.variant,
            pinned=old.pinned if pinned is None else pinned,
            used_at=now,
        )
        records.save(self.directory, known)
        made = _image(image.version, image.variant, image.path, known[image.name])
        assert made is not None
        return made


def _image(version: Version, variant: str, path: Path, record: Record | None) -> Image | None:
    size = path.stat().st_size
    if record is None:
        return Image(version, variant, path, size) if size else None
    if not size or (record.size and record.size != size):
        return None
    return Image(
        version, variant, path, size, record.hash, record.downloaded_at, record.used_at, record.pinned
    )


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return float("-inf")
