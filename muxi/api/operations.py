"""What is being done to a formation, or was: seen as it stands, watched as it goes on, cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Response, request

from muxi.api.answers import json_response, success
from muxi.api.events import wants_stream
from muxi.api.exchange import current
from muxi.api.formations import ONE
from muxi.api.routing import Endpoint
from muxi.api.views import drain_object, operation_object
from muxi.api.watching import answer
from muxi.errors import Conflict, MuxiError
from muxi.formation.owner import too_late

if TYPE_CHECKING:
    from muxi.api.parts import ApiParts
    from muxi.formation.operation import Operation


class OperationRoutes:
    """`…/operation`, with `?id=` for one of the past, and the ways to cancel the one under way."""

    def __init__(self, parts: ApiParts) -> None:
        self._fleet = parts.fleet
        self._parts = parts

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("GET", f"{ONE}/operation", self.operation),
            Endpoint("GET", f"{ONE}/operation/stream", self.operation),
            Endpoint("POST", f"{ONE}/cancel", self.cancel),
            Endpoint("POST", f"{ONE}/cancel-update", self.cancel_update),
        )

    async def operation(self, formation_id: str) -> Response:
        """Show the latest operation; as events, all of them from its beginning to its end."""
        operation = self._fleet.operation(formation_id, request.args.get("id") or None)
        if wants_stream():
            return await answer(operation, self._parts.settings.keepalive_interval)
        return success({**operation_object(operation), "drain": self._drain(operation)})

    async def cancel(self, formation_id: str) -> Response:
        """Take a deploy, update or rollback back; answered once all it did is undone."""
        operation = await self._cancelled(formation_id)
        return success(self._outcome(operation))

    async def cancel_update(self, formation_id: str) -> Response:
        """Do the same in the form that clients of the original read: its fields bare, not enveloped."""
        outcome = self._outcome(await self._cancelled(formation_id))
        return json_response({"success": True, **outcome})

    async def _cancelled(self, formation_id: str) -> Operation:
        operation = self._fleet.cancel(formation_id)
        try:
            await operation.wait()
        except MuxiError as error:
            if error.code == "Cancelled":
                current().kept = "lastingly"
                return operation
            raise Conflict(
                f"The {operation.kind} failed before it could be cancelled: {error.message}",
                code="OperationEnded",
                details={"operation_id": operation.id},
            ) from None
        raise too_late(operation)

    def _outcome(self, operation: Operation) -> dict[str, object]:
        outcome: dict[str, object] = {
            "id": operation.formation_id,
            "formation_id": operation.formation_id,
            "operation_id": operation.id,
            "message": f"{operation.kind.capitalize()} cancelled successfully",
            "staging_port": _staging_port(operation),
        }
        try:
            view = self._fleet.get(operation.formation_id)
        except MuxiError:  # a deploy is gone with all that it did
            return {**outcome, "status": "removed", "current_port": 0}
        return {**outcome, "status": view.status, "current_port": view.port or 0}

    def _drain(self, operation: Operation) -> dict[str, int] | None:
        if operation.ended:
            return None
        try:
            return drain_object(self._fleet.get(operation.formation_id).drain)
        except MuxiError:
            return None


def _staging_port(operation: Operation) -> int:
    ports = (event.data.get("staging_port") for event in operation.events)
    return next((port for port in ports if isinstance(port, int)), 0)
