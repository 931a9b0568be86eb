"""The two envelopes that every client knows, and the answers made of them."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from quart import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.errors import MuxiError


def json_response(content: Mapping[str, object], status: int = 200) -> Response:
    """One JSON object and a newline. ASCII only, so that no reader can stumble over the charset."""
    response = Response(json.dumps(content, default=str) + "\n", status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def success(data: object, status: int = 200) -> Response:
    return json_response({"success": True, "data": data}, status)


def failure(error: MuxiError, request_id: str) -> Response:
    response = json_response(error_envelope(error, request_id), error.status)
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "MUXI-HMAC"  # RFC 9110 section 15.5.2
    return response


def error_envelope(error: MuxiError, request_id: str) -> dict[str, object]:
    """`error` is the status's reason phrase and `code` an int because the Go clients decode those.

    The machine's word for the case is `error_code`. Details may override it by `code_name`.
    """
    details = dict(error.details)
    error_code = str(details.pop("code_name", error.code))
    envelope: dict[str, object] = {
        "success": False,
        "error": reason_phrase(error.status),
        "message": error.message,
        "code": error.status,
        "error_code": error_code,
        "request_id": request_id,
    }
    if error.stage is not None:
        envelope["stage"] = error.stage
    if error.cure is not None:
        envelope["cure"] = error.cure
    if details:
        envelope["details"] = details | ({"error_code": error_code} if error_code != error.code else {})
    return envelope


def reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
