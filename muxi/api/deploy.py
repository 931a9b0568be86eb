"""Deploying: the checks before a bundle is taken in, taking it in, and handing it over.

All that can be known from the head is checked before the first byte of the body is read, in the
original's order (http-api.md 1.3): content type, formation id, whether it exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Response, request

from muxi.api.exchange import current
from muxi.api.formations import ONE
from muxi.api.routing import Endpoint
from muxi.api.uploads import Intake, has_bundle, require_json, wrong_type
from muxi.api.watching import answer
from muxi.errors import Conflict, NotFound, RequestError, Unprocessable
from muxi.formation.identifier import id_problem

if TYPE_CHECKING:
    from muxi.api.parts import ApiParts
    from muxi.api.uploads import Wanted


class DeployRoutes:
    """`POST /rpc/formations` of the Go clients, and the ways of the others."""

    def __init__(self, parts: ApiParts) -> None:
        self._fleet = parts.fleet
        self._parts = parts
        self._intake = Intake(parts)

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("POST", "/rpc/formations", self.deploy_bundle),
            Endpoint("POST", "/rpc/formations/deploy", self.deploy_any),
            Endpoint("POST", f"{ONE}/deploy", self.deploy_named),
            Endpoint("POST", f"{ONE}/deploy/stream", self.deploy_named),
        )

    async def deploy_bundle(self) -> Response:
        """Take the bundle as the body, its id in X-Formation-ID."""
        if not has_bundle():
            raise wrong_type("application/gzip")
        return await self._from_body(_header_id())

    async def deploy_any(self) -> Response:
        """Take either body; in JSON the id is a field."""
        if has_bundle():
            return await self._from_body(_header_id())
        return await self._from_json(None)

    async def deploy_named(self, formation_id: str) -> Response:
        """Take either body; the id is the path's, and whatever else names one must agree."""
        if has_bundle():
            named = request.headers.get("X-Formation-ID", formation_id)
            if named != formation_id:
                raise two_ids("X-Formation-ID", RequestError)
            return await self._from_body(formation_id)
        return await self._from_json(formation_id)

    async def _from_body(self, formation_id: str) -> Response:
        await self._admit(formation_id, "X-Formation-ID")
        return await self._deploy(self._intake.from_body(), formation_id)

    async def _from_json(self, formation_id: str | None) -> Response:
        require_json()
        if formation_id is not None:
            await self._admit(formation_id, "formation id")
        wanted = await self._intake.from_json()
        named = wanted.formation_id or formation_id
        if named is None:
            raise Unprocessable("The body names no formation.", cure="Give its `id`.", code="InvalidPayload")
        if formation_id not in {None, named}:
            raise two_ids("`id`", Unprocessable)
        await self._admit(named, "id")
        return await self._deploy(wanted, named)

    async def _admit(self, formation_id: str, label: str) -> None:
        """Raise unless this id is well formed and free."""
        problem = id_problem(formation_id)
        if problem is not None:
            raise RequestError(
                f"Invalid {label}: formation ID {problem}",
                code="InvalidFormationID",
                cure="Use 3-50 of a-z, 0-9 and hyphens, for example 'support-agent-2'.",
            )
        current().formation = formation_id
        await self._fleet.brought_back(formation_id)
        try:
            running = self._fleet.get(formation_id).operation_id
        except NotFound:
            return
        raise Conflict(
            f"Formation '{formation_id}' already exists. Use PUT to update.",
            code="FormationExists",
            cure="Deploy under another id, or delete the formation first.",
            details=None if running is None else {"operation_id": running},
        )

    async def _deploy(self, wanted: Wanted, formation_id: str) -> Response:
        async with wanted.open() as pieces:
            upload = await self._intake.receive(pieces)
        try:
            operation = self._fleet.deploy(upload, formation_id, wanted.version)
        except BaseException:
            await upload.discard()
            raise
        return await answer(operation, self._parts.settings.keepalive_interval, status=201)


def _header_id() -> str:
    formation_id = request.headers.get("X-Formation-ID")
    if formation_id is None:
        raise RequestError(
            "X-Formation-ID header is required",
            code="MissingHeader",
            cure="Send the formation's id in the X-Formation-ID header.",
        )
    return formation_id


def two_ids(name: str, kind: type[RequestError]) -> RequestError:
    return kind(
        f"{name} differs from the id in the path.",
        code="IDMismatch",
        cure="Leave it out, or make both the same.",
    )
