"""What formations can run on here, and what each of them was found to run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.api.answers import success
from muxi.api.routing import Endpoint
from muxi.api.views import pin_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quart import Response

    from muxi.api.parts import ApiParts
    from muxi.runtime.runtime import Presence


class RuntimeRoutes:
    """`GET /rpc/runtimes`."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint("GET", "/rpc/runtimes", self.list),)

    async def list(self) -> Response:
        """Look anew which can be used, and tell what was chosen for each formation, and why."""
        runtimes = self._parts.facilities.runtimes
        found = await runtimes.presences()
        formations = [
            {"id": view.id, "runtime": pin_object(view.runtime)} for view in self._parts.fleet.list()
        ]
        return success(
            {
                "preferred": runtimes.preferred,
                "runtimes": presence_objects(found, runtimes.preferred),
                "formations": formations,
            }
        )


def presence_objects(found: Mapping[str, Presence], preferred: str) -> list[dict[str, object]]:
    """Show each runtime that the server knows, in the order in which it knows them."""
    return [
        {
            "name": one.name,
            "available": one.available,
            "preferred": one.name == preferred,
            "version": one.version,
            "where": one.detail,
            "problem": one.problem,
            "cure": one.cure,
        }
        for one in found.values()
    ]
