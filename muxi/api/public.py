"""What anybody may ask: is it alive, how is it, where are the documents. No authentication."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Response

from muxi.api.answers import json_response
from muxi.api.routing import Endpoint
from muxi.api.views import ports_object

if TYPE_CHECKING:
    from muxi.api.parts import ApiParts

DOCS_URL = "https://muxi.org/docs"


class PublicRoutes:
    """`/health`, `/livez`, `/readyz`, `/ping` and `/docs`."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("GET", "/health", self.health),
            Endpoint("GET", "/livez", self.livez),
            Endpoint("GET", "/readyz", self.readyz),
            Endpoint("GET", "/ping", self.ping),
            Endpoint("GET", "/docs", self.docs),
        )

    async def health(self) -> Response:
        """Say "ok" in the three places where one client or another looks for it."""
        fleet = self._parts.fleet
        version = self._parts.version
        data = {
            "status": "ok",
            "version": version,
            "uptime": max(0, int(self._parts.now() - self._parts.started_at)),
            "formations": fleet.counts().total,
            "port_pool": ports_object(fleet.ports()),
            "server": {"status": "ok", "version": version},
        }
        return json_response({"success": True, "status": "ok", "version": version, "data": data})

    async def livez(self) -> Response:
        """Say that the server answers; whoever gets none of this may restart it."""
        return _text("ok")

    async def readyz(self) -> Response:
        """Say whether requests are well sent here: not while formations come back, or the server ends."""
        reason = self._parts.unready()
        return _text(reason or "ok", 503 if reason else 200)

    async def ping(self) -> Response:
        """Answer in text: the Python SDK takes the length of what comes, and a JSON number has none."""
        return _text("pong")

    async def docs(self) -> Response:
        return Response("", 302, {"Location": DOCS_URL}, content_type="text/plain")


def _text(text: str, status: int = 200) -> Response:
    response = Response(text, status, content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response
