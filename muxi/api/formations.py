"""Formations that exist: seeing them, starting, stopping, restarting and deleting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Response, request

from muxi.api.answers import success
from muxi.api.routing import Endpoint
from muxi.api.views import STATUSES, dev_item, formation_item, traffic_object
from muxi.api.watching import answer, answer_plainly
from muxi.errors import Unprocessable

if TYPE_CHECKING:
    from muxi.api.parts import ApiParts

ONE = "/rpc/formations/{formation_id}"


class FormationRoutes:
    """The routes below `/rpc/formations` that need no upload. Their bodies are ignored."""

    def __init__(self, parts: ApiParts) -> None:
        self._fleet = parts.fleet
        self._dev = parts.dev
        self._keepalive = parts.settings.keepalive_interval

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("GET", "/rpc/formations", self.list),
            Endpoint("GET", ONE, self.get),
            Endpoint("DELETE", ONE, self.delete),
            Endpoint("POST", f"{ONE}/start", self.start),
            Endpoint("POST", f"{ONE}/start/stream", self.start),
            Endpoint("POST", f"{ONE}/restart", self.restart),
            Endpoint("POST", f"{ONE}/restart/stream", self.restart),
            Endpoint("POST", f"{ONE}/stop", self.stop),
        )

    async def list(self) -> Response:
        wanted = _wanted_statuses(request.args.get("status", ""))
        views = sorted(self._fleet.list(), key=lambda view: view.id)
        items = [formation_item(view) for view in views if not wanted or view.status in wanted]
        # A key of their own: no client takes a directory that runs for a formation that it may manage.
        runs = [dev_item(view) for view in self._dev.list() if not wanted or view.status in wanted]
        return success({"formations": items, "total": len(items), "dev_runs": runs})

    async def get(self, formation_id: str) -> Response:
        view = self._fleet.get(formation_id)
        return success({**formation_item(view), "traffic": traffic_object(view.traffic)})

    async def start(self, formation_id: str) -> Response:
        await self._fleet.brought_back(formation_id)
        operation = self._fleet.start(formation_id)
        return await answer(operation, self._keepalive, message="Formation started")

    async def restart(self, formation_id: str) -> Response:
        await self._fleet.brought_back(formation_id)
        operation = self._fleet.restart(formation_id)
        return await answer(operation, self._keepalive, message="Formation restarted")

    async def stop(self, formation_id: str) -> Response:
        operation = self._fleet.stop(formation_id)
        return await answer_plainly(operation, message="Formation stopped successfully")

    async def delete(self, formation_id: str) -> Response:
        operation = self._fleet.delete(formation_id)
        return await answer_plainly(operation, message="Formation deleted successfully")


def _wanted_statuses(text: str) -> frozenset[str]:
    """Read `?status=running,crashed`; nothing means all. A misspelt one must not look like "none"."""
    wanted = frozenset(filter(None, (part.strip().lower() for part in text.split(","))))
    unknown = sorted(wanted - set(STATUSES))
    if unknown:
        raise Unprocessable(
            "The status filter names a status that does not exist.",
            cure=f"Use one or more of: {', '.join(STATUSES)}.",
        )
    return wanted
