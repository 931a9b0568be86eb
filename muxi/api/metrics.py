"""`/metrics`: what the proxy and the supervision count, for Prometheus. Off unless configured."""

from __future__ import annotations

import hmac
import os
import time
from typing import TYPE_CHECKING, Final

import trio
from quart import Response, request

from muxi.api.answers import failure
from muxi.api.exchange import current
from muxi.api.formation_metrics import process_families, traffic_families
from muxi.api.routing import Endpoint
from muxi.errors import NotFound, Unauthorized
from muxi.observe.metrics import CONTENT_TYPE, Family, render
from muxi.process import memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from muxi.api.parts import ApiParts
    from muxi.registry.traffic import TrafficView

PATH: Final = "/metrics"
TALLY: Final = {
    "connections": "Connections of clients.",
    "requests": "Requests of all kinds.",
    "retries": "Requests that were sent to a formation again.",
    "upstream_failures": "Requests that a formation failed to answer.",
    "contained": "Failures of ours that ended one connection.",
    "expired": "Connections that were past a deadline.",
    "refused_connections": "Connections refused for a limit of the whole server.",
    "refused_requests": "Requests refused for a limit of the whole server.",
}


class MetricsRoutes:
    """One route. It tells no more when asked for what does not exist: labels are of what does."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint("GET", PATH, self.metrics),)

    async def metrics(self) -> Response:
        settings = self._parts.settings.metrics
        if not settings.enabled:
            raise NotFound("Endpoint not found", code="EndpointNotFound")
        if settings.token and not _shows(request.headers.get("Authorization", ""), settings.token):
            return _refusal()
        held = await trio.to_thread.run_sync(memory.held_by, os.getpid())
        text = render(self._families(held))
        response = Response(text, content_type=CONTENT_TYPE)
        response.headers["Cache-Control"] = "no-store"
        return response

    def _families(self, held: int) -> Iterator[Family]:
        parts = self._parts
        yield from self._server(held)
        yield from proxy_families(parts.proxy_status())
        yield from traffic_families(self._traffic())
        yield from process_families(parts.fleet.list())
        yield _single(
            "muxi_rce_up", "Whether the code runner runs.", parts.code_runner().get("state") == "running"
        )

    def _server(self, held: int) -> Iterator[Family]:
        parts, counts, ports = self._parts, self._parts.fleet.counts(), self._parts.fleet.ports()
        build = Family("muxi_server_info", "gauge", "1, with the version of the server.")
        build.add(1, version=parts.version, server_id=parts.settings.server_id)
        yield build
        yield _single("muxi_server_start_time_seconds", "Unix time of the program's start.", parts.started_at)
        yield _single("process_resident_memory_bytes", "Resident memory of the main process.", held)
        cpu = Family("process_cpu_seconds_total", "counter", "Processor time of the main process.")
        cpu.add(time.process_time())
        yield cpu
        formations = Family("muxi_formations", "gauge", "Formations: all, and those in some states.")
        for state in ("total", "running", "stopped", "crashed", "healthy"):
            formations.add(getattr(counts, state), state=state)
        yield formations
        yield _single("muxi_ports_allocated", "Ports of the range that are taken.", ports.allocated)
        yield _single("muxi_ports_available", "Ports of the range that are not.", ports.available)

    def _traffic(self) -> Iterator[tuple[str, TrafficView]]:
        for route in tuple(self._parts.facilities.routes.live.values()):
            yield route.formation_id, route.traffic.snapshot()


def proxy_families(status: Mapping[str, object]) -> Iterator[Family]:
    """Yield what has been counted of all processes that proxy (`muxi.proxy.listener.Listener.status`)."""
    yield _single(
        "muxi_proxy_connections", "Connections of clients open now.", _number(status, "connections")
    )
    yield _single("muxi_proxy_in_flight", "Requests for formations under way.", _number(status, "requests"))
    tally = status.get("tally")
    for name, said in TALLY.items():
        family = Family(f"muxi_proxy_{name}_total", "counter", said)
        family.add(_number(tally if isinstance(tally, dict) else {}, name))
        yield family


def _number(values: Mapping[str, object], name: str) -> float:
    found = values.get(name)
    return found if isinstance(found, int | float) else 0


def _single(name: str, said: str, value: float) -> Family:
    family = Family(name, "gauge", said)
    family.add(value)
    return family


def _shows(authorization: str, token: str) -> bool:
    scheme, _, shown = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), token.encode())


def _refusal() -> Response:
    error = Unauthorized("The bearer token is missing or wrong.", cure="Show the one of metrics.token.")
    response = failure(error, current().request_id)
    response.headers["WWW-Authenticate"] = "Bearer"  # RFC 6750 section 3
    return response
