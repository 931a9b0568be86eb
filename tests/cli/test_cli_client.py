from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from muxi.auth.credentials import KeyPair
from muxi.auth.keyring import Keyring
from muxi.cli.client import ServerClient, Upload, failure, formation_path, refusal
from muxi.cli.sse import ServerEvent
from muxi.errors import Conflict, MuxiError, NotFound, OperatorError, RequestError, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = KeyPair("muxi_pk_test", "muxi_sk_0123456789abcdef")
NOW = 1_750_000_000.4


def client_of(handler: Callable[[httpx.Request], httpx.Response], key: KeyPair | None = KEY) -> ServerClient:
    return ServerClient("http://server:1", key, clock=lambda: NOW, transport=httpx.MockTransport(handler))


@pytest.mark.parametrize("formation_id", ["my-agent", "a b", "a/b", "naïve", "100%"])
def test_requests_are_signed_so_that_the_keyring_takes_them(formation_id: str) -> None:
    keyring = Keyring((KEY,), 300)

    def handler(request: httpx.Request) -> httpx.Response:
        raw = request.url.raw_path.decode()
        path = raw.partition("?")[0]
        assert keyring.authenticate(request.headers["Authorization"], request.method, path, NOW) == KEY.id
        return httpx.Response(200, json={"success": True, "data": {"path": raw}})

    with client_of(handler) as client:
        answer = client.get(formation_path(formation_id, "logs"), lines=5, stream="all")
    assert str(answer["path"]).endswith("/logs?lines=5&stream=all")
    assert str(answer["path"]).count("/") == 4


def test_without_a_key_nothing_is_signed() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert "Authorization" not in request.headers
        return httpx.Response(200, json={"success": True, "status": "ok"})

    with client_of(handler, None) as client:
        assert client.get("/health") == {"success": True, "status": "ok"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestError),
        (401, Unauthorized),
        (404, NotFound),
        (409, Conflict),
        (422, RequestError),
        (500, OperatorError),
        (501, OperatorError),
    ],
)
def test_a_refusal_keeps_what_the_server_said(status: int, kind: type[MuxiError]) -> None:
    body = {
        "success": False,
        "error": "Whatever",
        "message": "It can't be.",
        "code": status,
        "error_code": "Impossible",
        "stage": "validating",
        "cure": "Do something else.",
        "details": {"log_tail": ["x"]},
    }
    with client_of(lambda _: httpx.Response(status, json=body)) as client, pytest.raises(kind) as caught:
        client.get("/rpc/formations")
    error = caught.value
    assert (error.message, error.status, error.code) == ("It can't be.", status, "Impossible")
    assert (error.stage, error.cure, error.details) == (
        "validating",
        "Do something else.",
        {"log_tail": ["x"]},
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"message": 5}', b'{"details": "x", "cure": []}'])
def test_an_error_in_no_envelope_still_says_the_status(body: bytes) -> None:
    error = refusal(httpx.Response(502, content=body))
    assert error.message == "The server answered 502 Bad Gateway."
    assert error.details == {}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]"])
def test_an_answer_that_is_no_object_is_an_error(body: bytes) -> None:
    with (
        client_of(lambda _: httpx.Response(200, content=body)) as client,
        pytest.raises(OperatorError, match="not a JSON object"),
    ):
        client.get("/health")


@pytest.mark.parametrize(
    ("raised", "says", "cure"),
    [
        (httpx.ConnectError("refused"), "No MUXI server answers at http://server:1.", "muxi-server start"),
        (httpx.ConnectTimeout("slow"), "No MUXI server answers", "muxi-server start"),
        (httpx.ReadTimeout("slow"), "did not answer in time", None),
        (httpx.RemoteProtocolError("cut"), "broke: cut.", "own log"),
        (httpx.ReadError(""), "broke: ReadError.", "own log"),
    ],
)
def test_a_broken_connection_is_told_in_words(raised: httpx.HTTPError, says: str, cure: str | None) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise raised

    with client_of(handler) as client, pytest.raises(OperatorError) as caught:
        client.get("/health")
    assert says in caught.value.message
    assert (cure or "") in (caught.value.cure or "")


def test_an_upload_is_sent_whole_with_its_headers_and_length() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept"] == "text/event-stream"
        assert request.headers["x-formation-id"] == "my-agent"
        assert request.headers["content-length"] == "200000"
        assert request.read() == b"z" * 200000
        return httpx.Response(
            200,
            content=b'event: complete\ndata: {"port": 1}\n\n',
            headers={"Content-Type": "text/event-stream"},
        )

    upload = Upload(io.BytesIO(b"z" * 200000), {"X-Formation-ID": "my-agent"})
    with client_of(handler) as client, client.stream("POST", "/rpc/formations", upload) as events:
        assert list(events) == [ServerEvent("complete", {"port": 1})]


def test_a_stream_that_is_refused_raises_before_any_event() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(409, json={"message": "exists", "code": 409})

    with (
        client_of(handler) as client,
        pytest.raises(Conflict, match="exists"),
        client.stream("POST", "/rpc/formations"),
    ):
        pytest.fail("never reached")


def test_a_stream_that_is_none_is_an_error() -> None:
    with (
        client_of(lambda _: httpx.Response(200, json={})) as client,
        pytest.raises(OperatorError, match="unexpected"),
        client.stream("POST", "/x"),
    ):
        pytest.fail("never reached")


def test_a_line_that_breaks_while_streaming_is_told_in_words() -> None:
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b'data: {"a": 1}\n\n'
            raise httpx.ReadError("gone")

    response = httpx.Response(200, stream=Broken(), headers={"Content-Type": "text/event-stream"})
    with client_of(lambda _: response) as client:
        seen: list[ServerEvent] = []
        with pytest.raises(OperatorError, match="gone"), client.stream("GET", "/x") as events:
            seen.extend(events)
    assert seen == [ServerEvent("message", {"a": 1})]


def test_a_failure_event_becomes_an_error_with_all_it_says() -> None:
    data: dict[str, object] = {
        "error": "HealthCheckFailed",
        "message": "no",
        "stage": "health_check",
        "cure": "mend",
        "details": {"a": 1},
    }
    error = failure(ServerEvent("error", data))
    assert (error.code, error.message, error.stage, error.cure) == (
        "HealthCheckFailed",
        "no",
        "health_check",
        "mend",
    )
    assert error.details == {"a": 1}
    assert failure(ServerEvent("error")).message == "The operation failed."


def test_neither_secret_nor_signature_is_in_the_client_s_repr_or_errors() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"message": "Invalid signature", "code": 401})

    with client_of(handler) as client, pytest.raises(Unauthorized) as caught:
        client.get("/rpc/formations")
    assert KEY.secret not in repr(client) + repr(caught.value) + json.dumps(caught.value.details)
