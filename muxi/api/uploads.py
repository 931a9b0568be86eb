"""Taking a bundle in, by whichever of the ways that clients have to send one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio
from quart import request

from muxi.api.body import Pieces, read_object
from muxi.api.sources import BundleRequest
from muxi.errors import RequestError, TooLarge
from muxi.formation.disk import require_space
from muxi.formation.upload import receive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from muxi.api.parts import ApiParts, ApiSettings
    from muxi.formation.upload import Upload

BUNDLE_TYPES = ("application/gzip", "application/x-gzip", "application/octet-stream")


class Wanted(Protocol):
    """A bundle that the request has or names, and what the request says of it."""

    @property
    def formation_id(self) -> str | None: ...

    @property
    def version(self) -> str | None: ...

    def open(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give the bundle's bytes piece by piece. Raises RequestError when they can't be had."""
        ...


@dataclass(frozen=True, slots=True)
class BodyBundle:
    """The bundle is the body; the headers say of which formation and version it is."""

    formation_id: str | None
    version: str | None
    pause: float

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes]]:
        yield Pieces(aiter(request.body), self.pause)


class Intake:
    """Takes bundles in, within the server's limits."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    @property
    def _settings(self) -> ApiSettings:
        return self._parts.settings

    def from_body(self) -> BodyBundle:
        """Return the bundle that the body is. Raises TooLarge by what the head says of its length."""
        limit = self._settings.max_upload_size
        if (request.content_length or 0) > limit:
            raise _too_large(limit)
        headers = request.headers
        return BodyBundle(
            headers.get("X-Formation-ID"),
            headers.get("X-Formation-Version") or None,
            self._settings.body_chunk_timeout,
        )

    async def from_json(self) -> BundleRequest:
        """Return the bundle that a JSON object names or holds. Raises RequestError, Unprocessable."""
        require_json()
        settings = self._settings
        content = await read_object(aiter(request.body), settings.max_json_size, settings.body_chunk_timeout)
        return BundleRequest.parse(content)

    async def from_either(self) -> Wanted:
        return self.from_body() if has_bundle() else await self.from_json()

    async def receive(self, pieces: AsyncIterator[bytes]) -> Upload:
        """Write the bundle to the disk. Raises TooLarge, StorageError (DiskFull before it is full)."""
        directory = self._settings.upload_directory
        reserve = self._parts.facilities.config.formations.disk_reserve
        coming = (request.content_length or 0) if has_bundle() else 0
        await trio.to_thread.run_sync(
            partial(require_space, directory, coming, reserve, "take the bundle", stage="receiving")
        )
        return await receive(pieces, directory, self._settings.max_upload_size)


def has_bundle() -> bool:
    """Say whether the body is a bundle, by its Content-Type."""
    content_type = request.headers.get("Content-Type", "").lower()
    return any(bundle_type in content_type for bundle_type in BUNDLE_TYPES)


def require_json() -> None:
    """Raise RequestError unless the body is JSON, by its Content-Type."""
    if "json" not in request.headers.get("Content-Type", "").lower():
        raise wrong_type("application/gzip or application/json")


def wrong_type(wanted: str) -> RequestError:
    return RequestError(
        f"Content-Type must be {wanted}",
        code="InvalidContentType",
        cure="Send the bundle as a gzip-compressed tar.",
    )


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The bundle is larger than {limit:,} bytes, the limit of this server.",
        cure="Leave out what the formation does not need, or raise formations.bundle.max_upload_size.",
        details={"limit": limit},
    )
