from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from muxi.api.answers import error_envelope
from muxi.errors import Conflict, FormationFailed, NoPort, NotFound, StorageError
from tests.api.harness import KEY, NOW, Api, make_api, make_scope, view

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path, view("my-bot"))


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/rpc", "/rpc/nowhere", "/api/", "/draft", "/rpc/formations/a/b/c"]
)
async def test_unknown_path_is_404_json_without_authentication(api: Api, path: str) -> None:
    answer = await api.call("GET", path, signed=False)
    assert answer.status == 404
    assert answer.json | {"request_id": ""} == {
        "success": False,
        "error": "Not Found",
        "message": "Endpoint not found",
        "code": 404,
        "error_code": "EndpointNotFound",
        "request_id": "",
    }


async def test_wrong_method_is_405_json_and_says_what_is_allowed(api: Api) -> None:
    answer = await api.call("PATCH", "/rpc/formations/my-bot", signed=False)
    assert answer.status == 405
    assert answer.json["code"] == 405
    assert answer.json["error"] == "Method Not Allowed"
    assert {"GET", "PUT", "DELETE"} <= set(answer.headers["allow"].split(", "))


async def test_a_defect_is_500_without_a_word_of_it_and_logged_with_the_request_id(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(formation_id: str) -> None:
        raise RuntimeError("the inside of the server")

    monkeypatch.setattr(api.fleet, "get", break_down)
    processors = [structlog.contextvars.merge_contextvars]
    with structlog.testing.capture_logs(processors) as logs:
        answer = await api.get("/rpc/formations/my-bot", **{"X-Request-ID": "id-1"})
    assert answer.status == 500
    assert b"inside" not in answer.body
    assert b"Traceback" not in answer.body
    assert answer.json["error"] == "Internal Server Error"
    assert answer.json["request_id"] == "id-1"
    failed = next(entry for entry in logs if entry["event"] == "request failed")
    assert failed["request_id"] == "id-1"
    assert str(failed["exc_info"]) == "the inside of the server"


async def test_a_defect_in_the_error_handling_itself_is_still_answered(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(api.app, "handle_request", break_down)
    answer = await api.get("/rpc/formations")
    assert answer.status == 500
    assert answer.json["success"] is False


async def test_grouped_errors_are_answered_as_the_one_that_has_an_answer(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(formation_id: str) -> None:
        raise ExceptionGroup("several", [NotFound("Formation not found")])

    monkeypatch.setattr(api.fleet, "get", break_down)
    assert (await api.get("/rpc/formations/my-bot")).status == 404


@pytest.mark.parametrize(
    ("error", "status", "phrase"),
    [
        (NotFound("Formation not found"), 404, "Not Found"),
        (Conflict("busy", details={"operation_id": "1"}), 409, "Conflict"),
        (NoPort("all taken", stage="validating"), 507, "Insufficient Storage"),
        (StorageError("disk full", cure="free some space"), 507, "Insufficient Storage"),
        (
            FormationFailed("Formation crashed during startup: exit status 3", stage="health_check"),
            400,
            "Bad Request",
        ),
    ],
)
def test_envelope_holds_what_every_client_reads(error: NotFound, status: int, phrase: str) -> None:
    envelope = error_envelope(error, "id")
    assert envelope["success"] is False
    assert envelope["error"] == phrase  # a text, or the Go SDK shows a message of its own
    assert envelope["code"] == status  # an int, or the Go SDK can't decode it
    assert envelope["message"] == error.message
    assert envelope["error_code"] == error.code
    assert envelope.get("stage") == error.stage
    assert envelope.get("cure") == error.cure
    assert envelope.get("details", {}) == error.details


async def test_every_answer_has_a_request_id(api: Api) -> None:
    given = await api.get("/ping", **{"X-Request-ID": "from-the-client.1"})
    assert given.headers["x-request-id"] == "from-the-client.1"
    for unfit in ("x" * 129, "a b", "é", ""):
        made = await api.get("/nowhere", **{"X-Request-ID": unfit})
        assert len(made.headers["x-request-id"]) == 32
        assert made.json["request_id"] == made.headers["x-request-id"]


async def test_a_path_escaped_or_with_doubled_slashes_still_needs_a_signature(api: Api) -> None:
    for raw, decoded in [("/%72pc/formations", "/rpc/formations"), ("//rpc/formations", "//rpc/formations")]:
        refused = await _raw(api, raw, decoded, signed=False)
        assert refused == 401
        assert await _raw(api, raw, decoded, signed=True) == 200


async def _raw(api: Api, raw: str, decoded: str, *, signed: bool) -> int:
    headers = {"Authorization": api.signature("GET", raw)} if signed else {}
    async with api.exchange(make_scope("GET", raw, headers, decoded)) as exchange:
        await exchange.send(b"", last=True)
        await exchange.ended.wait()
    return exchange.status


async def test_options_and_head(api: Api) -> None:
    options = await api.call("OPTIONS", "/health", signed=False)
    assert options.status == 200
    assert options.headers["access-control-allow-origin"] == "*"
    assert {"GET", "HEAD", "OPTIONS"} == set(options.headers["allow"].split(", "))
    assert (await api.call("OPTIONS", "/rpc/formations", signed=False)).status == 401
    head = await api.call("HEAD", "/rpc/formations")
    assert head.status == 200
    assert "access-control-allow-origin" not in head.headers


async def test_refusals_come_in_the_originals_words(api: Api) -> None:
    cases = {
        "": "Missing authorization header",
        "Bearer x": "Invalid authorization header format",
        f"MUXI-HMAC key={KEY}, timestamp=1": "Invalid authorization header format",
        f"MUXI-HMAC key=nobody, timestamp={NOW:.0f}, signature=x": "Invalid key",
        api.signature(
            "GET", "/rpc/formations", at=NOW - 301
        ): "Request expired (timestamp too old or in future)",
        api.signature("GET", "/rpc/formations", secret="wrong"): "Invalid signature",
        api.signature("POST", "/rpc/formations"): "Invalid signature",
    }
    for header, message in cases.items():
        answer = await api.get("/rpc/formations", Authorization=header)
        assert answer.status == 401
        assert answer.json["error"] == "Unauthorized"
        assert answer.json["message"] == message
        assert answer.headers["www-authenticate"] == "MUXI-HMAC"


async def test_a_wrong_clock_is_told_from_a_wrong_key(api: Api) -> None:
    answer = await api.get(
        "/rpc/formations", Authorization=api.signature("GET", "/rpc/formations", at=NOW + 400)
    )
    assert answer.json["error_code"] == "clock_skew"
    assert answer.json["details"] == {"server_time": NOW, "offset_seconds": 400, "error_code": "clock_skew"}


async def test_authentication_can_be_off(tmp_path: Path) -> None:
    api = make_api(tmp_path, authenticated=False)
    assert (await api.call("GET", "/rpc/formations", signed=False)).status == 200
    assert (await api.audited())[0]["key_id"] is None
