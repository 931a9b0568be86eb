"""`/rpc/dev/*`: running a directory of this machine as it is, for those who work on it there.

It makes the server run any program, so it can be switched off, and is for local clients unless the
configuration says otherwise. The answers have a form of their own, the same for good and bad
(http-api.md 1.7).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from quart import Response, request

from muxi.api.answers import error_envelope, json_response
from muxi.api.body import read_object
from muxi.api.exchange import current
from muxi.api.routing import Endpoint
from muxi.errors import MuxiError, RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from muxi.api.parts import ApiParts

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
"""Said by whoever passes on requests of others: the address is not the client's then."""


class DevRoutes:
    """`run` answers when the directory's process is healthy; `stop` when it has ended."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("POST", "/rpc/dev/run", self.run),
            Endpoint("POST", "/rpc/dev/stop", self.stop),
        )

    async def run(self) -> Response:
        return await self._answer(self._run)

    async def stop(self) -> Response:
        return await self._answer(self._stop)

    async def _answer(self, work: Callable[[Mapping[str, object]], Awaitable[dict[str, object]]]) -> Response:
        try:
            self._admit()
            settings = self._parts.settings
            body = aiter(request.body)
            content = await read_object(body, settings.max_json_size, settings.body_chunk_timeout)
            done = await work(content)
            current().kept = "while the server runs"
            return json_response({"success": True, **done})
        except MuxiError as error:
            exchange = current()
            exchange.status = error.status
            failed = {"formation_id": exchange.formation or "", "port": 0, "status": ""}
            envelope = error_envelope(error, exchange.request_id)
            return json_response({**envelope, **failed, "error": error.message}, error.status)

    async def _run(self, content: Mapping[str, object]) -> dict[str, object]:
        watch = content.get("watch", False)
        if not isinstance(watch, bool):
            raise RequestError("watch must be true or false", code="InvalidPayload")
        started = await self._parts.dev.start(content.get("path"), content.get("formation_id"), watch=watch)
        current().formation = started.id
        return {
            "formation_id": started.id,
            "port": started.port,
            "status": "running",
            "url": f"{request.host_url.rstrip('/')}/draft/{started.id}",
            "watch": watch,
        }

    async def _stop(self, content: Mapping[str, object]) -> dict[str, object]:
        formation_id = content.get("formation_id")
        if not isinstance(formation_id, str) or not formation_id:
            raise RequestError("formation_id is required", code="InvalidPayload")
        await self._parts.dev.stop(formation_id)
        return {"formation_id": formation_id, "status": "stopped"}

    def _admit(self) -> None:
        settings = self._parts.settings
        if not settings.allow_dev:
            raise _refused(
                "Running directories is switched off on this server.",
                "Set formations.allow_dev, or deploy the formation.",
            )
        if request.headers.get("Origin") is not None:
            raise _refused("A web page may not run directories.", "Use a program: `muxi up`, or curl.")
        if not settings.allow_dev_remote and not _is_local():
            raise _refused(
                "Directories can be run by clients on the server's own machine only.",
                "Do it there, or set formations.allow_dev_remote.",
            )


def _is_local() -> bool:
    if any(request.headers.get(name) is not None for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(current().address or "").is_loopback
    except ValueError:
        return False


def _refused(message: str, cure: str) -> RequestError:
    return RequestError(message, status=403, code="DevNotAllowed", cure=cure)
