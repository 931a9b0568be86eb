"""Updating and rolling back, on the routes of both families of clients.

All that can be known from the head is told before the body is read: whether there is such a
formation, and whether something is under way with it (http-api.md 1.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Response, request

from muxi.api.body import read_object
from muxi.api.deploy import two_ids
from muxi.api.formations import ONE
from muxi.api.routing import Endpoint
from muxi.api.sources import BundleRequest
from muxi.api.uploads import Intake
from muxi.api.watching import answer
from muxi.errors import RequestError, Unprocessable
from muxi.formation.owner import busy
from muxi.formation.wishes import RollbackWish, UpdateWish, read_force, read_release, read_strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.api.parts import ApiParts
    from muxi.api.uploads import Wanted
    from muxi.formation.manifest import Strategy


class UpdateRoutes:
    """`PUT …/{id}` of the Go clients, `POST …/{id}/update` of the others, and `…/rollback` of all."""

    def __init__(self, parts: ApiParts) -> None:
        self._fleet = parts.fleet
        self._parts = parts
        self._intake = Intake(parts)

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("PUT", ONE, self.update),
            Endpoint("POST", f"{ONE}/update", self.update),
            Endpoint("POST", f"{ONE}/update/stream", self.update),
            Endpoint("POST", f"{ONE}/rollback", self.rollback),
            Endpoint("POST", f"{ONE}/rollback/stream", self.rollback),
        )

    async def update(self, formation_id: str) -> Response:
        """Take a bundle as the body, whatever type it is said to be of, or JSON that names or holds one."""
        await self._admit(formation_id)
        if request.headers.get("X-Formation-ID", formation_id) != formation_id:
            raise two_ids("X-Formation-ID", RequestError)
        _update_wish({}, None)  # told before the bundle is taken in, if it is odd
        wishes: dict[str, object] = {}
        wanted: Wanted = self._intake.from_body() if not _is_json() else await self._from_json(wishes)
        if wanted.formation_id not in {None, formation_id}:
            raise two_ids("`id`", Unprocessable)
        async with wanted.open() as pieces:
            upload = await self._intake.receive(pieces)
        try:
            operation = self._fleet.update(upload, formation_id, _update_wish(wishes, wanted.version))
        except BaseException:
            await upload.discard()
            raise
        return await answer(operation, self._parts.settings.keepalive_interval)

    async def rollback(self, formation_id: str) -> Response:
        """Go back to the previous release, or to the one that the query or a JSON body names."""
        await self._admit(formation_id)
        content = {**await self._content(), **request.args.to_dict()}
        unknown = sorted(set(content) - {"release", "version", "strategy"})
        if unknown:
            raise _unknown("release, version, strategy")
        wish = RollbackWish(read_release(content), _strategy(content))
        operation = self._fleet.rollback(formation_id, wish)
        return await answer(operation, self._parts.settings.keepalive_interval)

    async def _admit(self, formation_id: str) -> None:
        """Raise unless there is such a formation and nothing is under way with it."""
        await self._fleet.brought_back(formation_id)
        running = self._fleet.get(formation_id).operation_id
        if running is not None:
            raise busy(self._fleet.operation(formation_id, running))

    async def _content(self) -> dict[str, object]:
        if not _is_json():
            return {}
        settings = self._parts.settings
        body = aiter(request.body)
        content = await read_object(body, settings.max_json_size, settings.body_chunk_timeout, empty=True)
        return {name: value for name, value in content.items() if value is not None}

    async def _from_json(self, wishes: dict[str, object]) -> BundleRequest:
        content = await self._content()
        wishes |= {name: content.pop(name) for name in ("strategy", "force") if name in content}
        return BundleRequest.parse(content)


def _update_wish(content: Mapping[str, object], version: str | None) -> UpdateWish:
    force = content.get("force", request.args.get("force", request.headers.get("X-Muxi-Force")))
    return UpdateWish(version, _strategy(content), read_force(force))


def _strategy(content: Mapping[str, object]) -> Strategy | None:
    said = request.args.get("strategy", request.headers.get("X-Muxi-Strategy"))
    return read_strategy(content.get("strategy", said))


def _is_json() -> bool:
    return "json" in request.headers.get("Content-Type", "").lower()


def _unknown(known: str) -> Unprocessable:
    return Unprocessable(
        "The request has a field that is not known here.",
        code="InvalidPayload",
        cure=f"Known are: {known}.",
    )
