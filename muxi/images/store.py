"""The runtime's images: which one is meant, and having it here. Used by many tasks at once.

A restart asks for what its release is pinned to, which needs no network while the file is here.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import trio

from muxi.disk import disk_work
from muxi.download.failure import DownloadError, shown
from muxi.errors import Conflict, NotFound, OperatorError
from muxi.images.names import architecture
from muxi.images.report import STAGE, tell_nobody, telling
from muxi.images.shelf import Image, Shelf
from muxi.images.versions import LEAN, Version, Wanted, named, parse, parse_version, unsatisfiable
from muxi.locks import held

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from pathlib import Path

    from muxi.config.runtime import RuntimeConfig
    from muxi.download.downloader import Downloader
    from muxi.images.mirror import Mirror
    from muxi.images.report import Report

T = TypeVar("T")

EXECUTABLE = 0o755
LOCK_SECONDS = 300.0
"""How long another process may be at work in the directory: hashing an image is the longest."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """An exact version and its variant; `reason` is why that one, in words."""

    version: str
    variant: str = LEAN
    reason: str = ""

    def __str__(self) -> str:
        """Return what a pin keeps, and `read` reads: `1.2.3`, `1.2.3:cuda`."""
        return named(self.version, self.variant)

    @classmethod
    def read(cls, text: str) -> Resolved:
        """Read what a pin has kept. Raises RequestError (InvalidRuntime)."""
        wanted = parse(text)
        return cls(".".join(map(str, wanted.numbers)), wanted.variant)


class ImageStore:
    """`<data>/runtimes` and the mirror that it is filled from."""

    def __init__(
        self,
        directory: Path,
        mirror: Mirror,
        downloader: Downloader,
        settings: Callable[[], RuntimeConfig],
        *,
        arch: str | None = None,
    ) -> None:
        """Ask for `settings` at each use; `arch` is that of images which run here."""
        self._shelf = Shelf(directory, arch or architecture())
        self._mirror = mirror
        self._downloader = downloader
        self._settings = settings

    async def installed(self) -> list[Image]:
        """Return what is here, the newest first. Raises StorageError."""
        return await self._disk(self._shelf.images)

    async def resolve(self, wanted: str | None, *, download: bool | None = None) -> Resolved:
        """Say which version is meant by `latest`, `1`, `1.2` or `1.2.3`, with or without a variant.

        None is what the configuration says, else the latest. Where the mirror can't be asked, or may
        not be (`download`, else as configured), the newest that is installed will do.

        Raises RequestError (InvalidRuntime, ResolveError), DownloadError and StorageError.
        """
        asked = self._asked(wanted)
        if asked.exact is not None:
            return Resolved(str(asked.exact), asked.variant, "it is asked for by its number")
        here = [image.version for image in await self.installed() if image.variant == asked.variant]
        if not self._may_download(download):
            found = asked.best(here)
            if found is None:
                raise unsatisfiable(asked, here, "nothing is downloaded here, and installed are")
            return Resolved(str(found), asked.variant, "the newest that is installed; nothing is downloaded")
        try:
            return await self._ask_mirror(asked, here)
        except DownloadError as error:
            found = asked.best(here)
            if found is None:
                error.stage = "resolving_runtime"
                raise
            reason = f"the newest that is installed; {self._mirror.shown} could not be asked"
            return Resolved(str(found), asked.variant, reason)

    async def ensure(
        self,
        version: str,
        variant: str = LEAN,
        report: Report = tell_nobody,
        *,
        sha256: str | None = None,
        download: bool | None = None,
    ) -> Path:
        """Have an image here, and return its file.

        `sha256` is what it has to be, if a pin says so. `download`: whether it may be fetched, else
        as configured. Raises OperatorError (DownloadError, RuntimeNotInstalled, ChecksumMismatch …).
        """
        return (await self.have(version, variant, report, sha256=sha256, download=download)).path

    async def have(
        self,
        version: str,
        variant: str = LEAN,
        report: Report = tell_nobody,
        *,
        sha256: str | None = None,
        download: bool | None = None,
    ) -> Image:
        """Do as `ensure`, and return all that is known of the image: a pin keeps its `sha256`."""
        exact = _exact(version)
        image = await self._locked(self._shelf.use, exact, variant)
        if image is None:
            if not self._may_download(download):
                raise self._not_installed(exact, variant)
            image = await self._fetch(exact, variant, report, sha256)
        if sha256 and image.sha256 != sha256:
            raise OperatorError(
                f"{image.path.name} is not the one that the release ran on: its SHA-256 is {image.sha256}, "
                f"and was {sha256}.",
                code="ChecksumMismatch",
                stage=STAGE,
                cure=f"Put the old file back, or deploy again; to fetch it anew: "
                f"muxi-server runtime remove --force {image.name}",
            )
        return image

    async def latest(self, variant: str = LEAN) -> Resolved:
        """Ask the mirror, whatever is installed. Raises DownloadError."""
        return Resolved(str(await self._mirror.latest()), variant, "the latest on the mirror")

    async def size(self, wanted: str | None = None) -> int | None:
        """Ask the mirror how long an image is; None where it does not say. Raises MuxiError."""
        found = await self.resolve(wanted, download=True)
        version = _exact(found.version)
        place = await self._mirror.find(version, self._shelf.path(version, found.variant).name)
        return await self._downloader.size(place.url)

    async def remove(self, name: str, used: Collection[str] = (), *, force: bool = False) -> Image:
        """Remove an image by its version and variant. Raises NotFound, and Conflict where it is in use.

        `used` are the pins of all releases; `force` removes one that they, or the operator, keep.
        """
        image = await self._named(name)
        if not force and (image.name in used or image.pinned):
            keeper = "a release is pinned to it" if image.name in used else "it is pinned"
            raise Conflict(
                f"The runtime {image.name} is kept: {keeper}.",
                code="RuntimeInUse",
                cure="Delete or update what uses it, or force it: then a restart downloads it again."
                if image.name in used
                else f"Unpin it first: muxi-server runtime pin --off {image.name}",
            )
        await self._locked(self._shelf.remove, image)
        return image

    async def prunable(self, used: Collection[str]) -> list[Image]:
        """Return what no release and nobody else keeps, and nobody has asked for within the hour."""
        return [
            image
            for image in await self.installed()
            if image.name not in used and not image.pinned and not self._shelf.fresh(image)
        ]

    async def leftovers(self) -> list[Path]:
        """Return what is left of downloads that were given up."""
        return await self._disk(self._shelf.leftovers)

    async def prune(self, used: Collection[str]) -> tuple[list[Image], list[Path]]:
        """Remove what is prunable and left over, and return it. Raises StorageError."""

        def work() -> tuple[list[Image], list[Path]]:
            for image in images:
                self._shelf.remove(image)
            for path in paths:
                path.unlink(missing_ok=True)
            return images, paths

        async with self._lock():
            images, paths = await self.prunable(used), await self.leftovers()
            return await self._disk(work)

    async def pin(self, name: str, *, pinned: bool = True) -> Image:
        """Keep an image whatever uses it, or no longer. Raises NotFound."""
        image = await self._named(name)

        def work() -> None:
            self._shelf.pin(image, pinned=pinned)

        await self._locked(work)
        return replace(image, pinned=pinned)

    def _may_download(self, asked: bool | None) -> bool:
        return self._settings().auto_download if asked is None else asked

    def _asked(self, wanted: str | None) -> Wanted:
        asked, default = parse(wanted), parse(self._settings().version)
        number, _, variant = (wanted or "").partition(":")
        if number.strip():
            return asked
        return Wanted(default.numbers, asked.variant if variant.strip() else default.variant)

    async def _ask_mirror(self, asked: Wanted, here: list[Version]) -> Resolved:
        if not asked.numbers:
            return Resolved(str(await self._mirror.latest()), asked.variant, "the latest on the mirror")
        there = await self._mirror.versions()
        if there is None:
            there = (await self._mirror.latest(),)
        found = asked.best([*there, *here])
        if found is None:
            raise unsatisfiable(asked, [*there, *here], "there are, on the mirror and installed")
        return Resolved(str(found), asked.variant, f"the newest {asked}")

    async def _fetch(self, version: Version, variant: str, report: Report, sha256: str | None) -> Image:
        path, name = self._shelf.path(version, variant), named(str(version), variant)
        await self._locked(self._shelf.drop_damaged, version, variant)
        found = await self._mirror.find(version, path.name)
        report(STAGE, f"Downloading muxi-runtime {name}", url=shown(found.url), version=name, progress=0)
        await self._downloader.fetch(
            found.url,
            path,
            sha256=sha256 or found.sha256,
            mode=EXECUTABLE,
            report=telling(report, f"muxi-runtime {name}", version=name),
        )
        image = await self._locked(self._shelf.use, version, variant)
        if image is None:
            raise self._not_installed(version, variant)
        return image

    def _not_installed(self, version: Version, variant: str) -> OperatorError:
        name = named(str(version), variant)
        return OperatorError(
            f"The runtime {name} is not installed here, and this server downloads none by itself.",
            code="RuntimeNotInstalled",
            status=503,
            stage=STAGE,
            cure=f"Install it: muxi-server runtime install {name} - or set runtime.auto_download.",
        )

    async def _named(self, name: str) -> Image:
        wanted = parse(name)
        images = await self.installed()
        for image in images:
            if image.version == wanted.exact and image.variant == wanted.variant:
                return image
        listed = ", ".join(image.name for image in images) or "none"
        raise NotFound(
            f"The runtime {wanted} is not installed; installed: {listed}.", cure="Name one of these."
        )

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        directory = self._shelf.directory
        with disk_work(f"work in {directory}"):
            await trio.to_thread.run_sync(lambda: directory.mkdir(parents=True, exist_ok=True))
            async with AsyncExitStack() as holding:
                with trio.move_on_after(LOCK_SECONDS) as waiting:
                    await holding.enter_async_context(held(directory / ".lock"))
                if waiting.cancelled_caught:
                    raise _locked_by_another(directory)
                yield

    async def _locked(self, work: Callable[..., T], *arguments: object) -> T:
        """Do work on the directory as the only one, of all processes."""
        async with self._lock():
            return await self._disk(work, *arguments)

    async def _disk(self, work: Callable[..., T], *arguments: object) -> T:
        with disk_work(f"work in {self._shelf.directory}"):
            return await trio.to_thread.run_sync(work, *arguments)


def _locked_by_another(directory: Path) -> OperatorError:
    return OperatorError(
        f"Another process has been at work in {directory} for {LOCK_SECONDS:g} s.",
        code="StorageError",
        status=503,
        stage=STAGE,
        cure="See which one it is (fuser -v on the file .lock there), and end it if it hangs.",
    )


def _exact(text: str) -> Version:
    """Read an exact version. Raises RequestError (InvalidRuntime) for anything else."""
    version = parse_version(text)
    if version is None:
        raise unsatisfiable(parse(text), (), "an exact version is needed, and installed are")
    return version
