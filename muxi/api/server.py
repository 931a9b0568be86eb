"""The server about itself: its state, and the audit log."""

from __future__ import annotations

import os
import platform
from functools import partial
from typing import TYPE_CHECKING

import trio
from quart import Response, request

from muxi.api.answers import success
from muxi.api.parameters import MOST_BYTES, line_count
from muxi.api.routing import Endpoint
from muxi.api.runtimes import presence_objects
from muxi.api.views import counts_object, ports_object
from muxi.process import memory
from muxi.process.output import tail

if TYPE_CHECKING:
    from muxi.api.parts import ApiParts


class ServerRoutes:
    """`/rpc/server/status`, `/rpc/server/logs` and `/rpc/server/telemetry`."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("GET", "/rpc/server/status", self.status),
            Endpoint("GET", "/rpc/server/logs", self.logs),
            Endpoint("GET", "/rpc/server/telemetry", self.telemetry),
        )

    async def status(self) -> Response:
        """Answer under the names of all clients: `server_id` and `id`, `ports` and `port_pool`."""
        parts, settings = self._parts, self._parts.settings
        ports = ports_object(parts.fleet.ports())
        server = {
            "id": settings.server_id,
            "server_id": settings.server_id,
            "version": parts.version,
            "uptime": max(0, int(parts.now() - parts.started_at)),
            "port": settings.port,
            "memory": await trio.to_thread.run_sync(memory.held_by, os.getpid()),
            **parts.program_status(),
        }
        runtime = {
            "type": settings.runtime_type,
            "platform": f"{platform.system().lower()}-{platform.machine()}",
            "versions": [f"python {platform.python_version()}"],
        }
        formations = counts_object(parts.fleet.counts())
        runtimes = parts.facilities.runtimes
        return success(
            {
                "server": server,
                "formations": formations,
                "ports": ports,
                "port_pool": ports,
                "runtime": runtime,
                "runtimes": presence_objects(await runtimes.seen(), runtimes.preferred),
                "rce": dict(parts.code_runner()),
                "proxy": dict(parts.proxy_status()),
                "limits": dict(parts.limits_in_force()),
                "sandbox": dict(parts.sandbox_in_force()),
            }
        )

    async def logs(self) -> Response:
        """Answer the last lines of the audit log as they are, in text: the Go SDK splits the body."""
        await self._parts.audit.flush()  # who asks after a request finds it here
        read = partial(tail, self._parts.audit.path, line_count(request.args), max_bytes=MOST_BYTES)
        lines = await trio.to_thread.run_sync(read)
        text = "".join(f"{line}\n" for line in lines)
        return Response(text, content_type="text/plain; charset=utf-8")

    async def telemetry(self) -> Response:
        """Show whether anonymous counts are reported, and the next report as it would be sent now."""
        return success(dict(await self._parts.telemetry_standing()))
