"""Every error as an answer that its client can read: JSON in one envelope, and never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from quart import has_request_context
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound

from muxi.api.answers import error_envelope, failure
from muxi.api.events import EventStream, ServerEvent, is_python_sdk, stream_response, wants_stream
from muxi.api.exchange import current
from muxi.errors import InternalError, MuxiError

if TYPE_CHECKING:
    from quart import Response

    from muxi.api.events import Emit

_log = structlog.get_logger()

_KEEPALIVE = 15.0


async def answer_muxi_error(error: MuxiError) -> Response:
    """Answer one of our errors; those that are the server's own fault are logged too."""
    if error.status >= 500 and error.status != 501:
        _log.error("request failed", code=error.code, reason=error.message, stage=error.stage)
    return _answer(error)


async def answer_http_error(error: HTTPException) -> Response:
    """Answer an error of the framework: an unknown path, a wrong method, a malformed request."""
    response = _answer(_translated(error))
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


async def answer_defect(error: Exception) -> Response:
    """Answer a defect of ours: log it whole, and say no more than where to look."""
    _log.error("request failed", exc_info=error)
    return _answer(_defect())


def _answer(error: MuxiError) -> Response:
    if not has_request_context():  # a WebSocket upgrade; there is nothing to note
        return failure(error, "")
    exchange = current()
    exchange.status = error.status
    if exchange.audited and exchange.route is not None and is_python_sdk() and wants_stream():
        return _as_event(error)
    return failure(error, exchange.request_id)


def _as_event(error: MuxiError) -> Response:
    """Answer 200 and one `error` event: the Python SDK shows nothing else in its streaming calls."""
    exchange = current()
    exchange.outcome = f"error: {error.code}"
    data = error_envelope(error, exchange.request_id) | {
        "error": error.code,
        "stage": error.stage or "validating",
    }

    async def produce(emit: Emit) -> None:
        await emit(ServerEvent("error", data))

    return stream_response(EventStream(produce, _KEEPALIVE))


def _translated(error: HTTPException) -> MuxiError:
    if isinstance(error, InternalServerError):
        return _defect()
    status = error.code or 500
    if isinstance(error, NotFound):
        return MuxiError("Endpoint not found", status=status, code="EndpointNotFound")
    if isinstance(error, MethodNotAllowed):
        return MuxiError("Method not allowed", status=status, code="MethodNotAllowed")
    return MuxiError(error.description or error.name, status=status, code=error.name.replace(" ", ""))


def _defect() -> InternalError:
    return InternalError(
        "The server failed while answering; its log has the details.",
        cure="Look for the request_id in the server's log.",
    )
