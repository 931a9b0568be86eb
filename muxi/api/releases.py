"""Which releases of a formation are kept: what a rollback can go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxi.api.answers import success
from muxi.api.formations import ONE
from muxi.api.routing import Endpoint
from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from quart import Response

    from muxi.api.parts import ApiParts
    from muxi.formation.releases import Release


class ReleaseRoutes:
    """`GET …/releases`: the current one first, then the one before it, then older ones."""

    def __init__(self, parts: ApiParts) -> None:
        self._fleet = parts.fleet
        self._facilities = parts.facilities

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint("GET", f"{ONE}/releases", self.releases),)

    async def releases(self, formation_id: str) -> Response:
        self._fleet.get(formation_id)
        kept = await trio.to_thread.run_sync(self._facilities.releases(formation_id).kept)
        items = [_item(release, is_current=number == 0) for number, release in enumerate(kept)]
        return success({"formation_id": formation_id, "releases": items, "total": len(items)})


def _item(release: Release, *, is_current: bool) -> dict[str, object]:
    return {
        "number": release.number,
        "version": release.semantic,
        "current": is_current,
        "deployed_at": rfc3339(release.deployed_at),
        "bundle_hash": release.bundle_hash,
        "content_hash": release.content_hash,
    }
