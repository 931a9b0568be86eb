"""The management API as an ASGI application: routes, guards and error answers put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from quart import request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from muxi.api.authentication import Guard
from muxi.api.connection import ApiConnection, ApiRequest
from muxi.api.deploy import DeployRoutes
from muxi.api.dev import DevRoutes
from muxi.api.download import DownloadRoutes
from muxi.api.drafts import DraftRoutes
from muxi.api.failures import answer_defect, answer_http_error, answer_muxi_error
from muxi.api.formations import FormationRoutes
from muxi.api.logs import LogRoutes
from muxi.api.metrics import PATH as METRICS
from muxi.api.metrics import MetricsRoutes
from muxi.api.openapi import OpenApiRoutes
from muxi.api.operations import OperationRoutes
from muxi.api.public import PublicRoutes
from muxi.api.releases import ReleaseRoutes
from muxi.api.repeats import Repeats
from muxi.api.routing import route_of
from muxi.api.runtimes import RuntimeRoutes
from muxi.api.server import ServerRoutes
from muxi.api.update import UpdateRoutes
from muxi.api.validate import ValidateRoutes
from muxi.errors import MuxiError

if TYPE_CHECKING:
    from quart import Response

    from muxi.api.exchange import Exchange
    from muxi.api.parts import ApiParts
    from muxi.api.routing import Endpoint

_log = structlog.get_logger()

# The management API and the metrics get none of these: no other web site has any business with them.
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
}


class ApiApp(QuartTrio):
    """A Quart app that streams bodies with back-pressure and notes every request."""

    asgi_http_class = ApiConnection  # type: ignore[assignment]
    request_class = ApiRequest

    def __init__(self, parts: ApiParts) -> None:
        super().__init__("muxi", static_folder=None, template_folder=None)
        self.parts = parts

    def note(self, exchange: Exchange) -> None:
        """Tell the audit log and the server log of a request that has ended, one way or another."""
        if exchange.audited:
            self.parts.audit.record(exchange.entry())
            if exchange.route is not None:
                self.parts.count_use(f"{exchange.method} {exchange.route}")
        (_log.info if exchange.audited else _log.debug)(
            "request",
            method=exchange.method[:32],
            route=exchange.route,
            status=exchange.status or 499,
            duration_ms=exchange.duration_ms,
            address=exchange.address,
            **({"formation_id": exchange.formation} if exchange.formation else {}),
        )


def create_app(parts: ApiParts) -> ApiApp:
    """Return the management API and the public routes, to be served by an ASGI server on Trio."""
    app = ApiApp(parts)
    app.config.update(
        BODY_TIMEOUT=None,  # a pause is limited, a whole is not: muxi.api.body
        MAX_CONTENT_LENGTH=None,  # each handler has its own limit
        PROPAGATE_EXCEPTIONS=False,
        RESPONSE_TIMEOUT=None,  # event streams have no end
    )
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # it redirects, and a redirected request has a wrong signature
    repeats = Repeats(parts, parts.receipts)
    for endpoint in endpoints(parts):
        handler = repeats.wrap(endpoint.handler) if endpoint.may_change else endpoint.handler
        app.add_url_rule(endpoint.rule, endpoint.name, handler, methods=[endpoint.method])
    app.before_request(Guard(parts).check)
    app.after_request(_allow_origins)
    app.register_error_handler(MuxiError, answer_muxi_error)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(Exception, answer_defect)
    return app


def endpoints(parts: ApiParts) -> tuple[Endpoint, ...]:
    """Return all routes; the last one describes them."""
    found = (
        *PublicRoutes(parts).endpoints(),
        *ServerRoutes(parts).endpoints(),
        *RuntimeRoutes(parts).endpoints(),
        *MetricsRoutes(parts).endpoints(),
        *FormationRoutes(parts).endpoints(),
        *DeployRoutes(parts).endpoints(),
        *UpdateRoutes(parts).endpoints(),
        *OperationRoutes(parts).endpoints(),
        *DevRoutes(parts).endpoints(),
        *LogRoutes(parts).endpoints(),
        *DraftRoutes(parts).endpoints(),
        *DownloadRoutes(parts).endpoints(),
        *ReleaseRoutes(parts).endpoints(),
        *ValidateRoutes(parts).endpoints(),
    )
    return (*found, *OpenApiRoutes(found, parts.version).endpoints())


async def _allow_origins(response: Response) -> Response:
    route = route_of(request.url_rule)
    if route is not None and route != METRICS and not route.startswith("/rpc/"):
        response.headers.update(_CORS)
    return response
