"""The client of the management API: signed requests, envelopes, event streams, errors as ours."""

from __future__ import annotations

import io
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import quote

import httpx

from muxi.auth.scheme import authorization_header
from muxi.cli.sse import ServerEvent, read_events
from muxi.errors import Conflict, MuxiError, NotFound, OperatorError, RequestError, Unauthorized
from muxi.trust import no_trust, system_trust

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from muxi.auth.credentials import KeyPair

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 120.0
"""How long a plain answer may take: a stop waits for the formation's own deadline."""
SILENCE_SECONDS = 60.0
"""How long a stream may say nothing. The server sends a comment at least every 15 s."""

BY_STATUS: Mapping[int, type[RequestError]] = {401: Unauthorized, 404: NotFound, 409: Conflict}


def formation_path(formation_id: str, *rest: str) -> str:
    """Return the path of a formation's route; the id is escaped, so it stays one segment."""
    return "/".join(["/rpc/formations", quote(formation_id, safe=""), *rest])


@dataclass(frozen=True, slots=True)
class Upload:
    """A body to send: a file open for reading, and the headers that describe it."""

    file: IO[bytes]
    headers: Mapping[str, str]


def json_body(content: Mapping[str, object]) -> Upload:
    """Return a JSON object as a body to send."""
    return Upload(io.BytesIO(json.dumps(content).encode()), {"Content-Type": "application/json"})


class ServerClient:
    """Talks to one server; a context manager. Not for sharing between threads."""

    def __init__(
        self,
        base_url: str,
        key: KeyPair | None,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Callable[[], float] = time.time,
        transport: httpx.BaseTransport | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.base_url = base_url
        self._key = key
        self._answer_seconds = answer_seconds
        self._clock = clock
        # trust_env: the way to one's own server must not lead through a proxy of the environment
        self._http = httpx.Client(
            base_url=base_url, trust_env=False, transport=transport, verify=trust or _trust(base_url)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: str | int) -> dict[str, object]:
        """Return the data of an answer. Raises MuxiError as the server meant it."""
        return self.call("GET", path, None, **params)

    def call(
        self, method: str, path: str, upload: Upload | None = None, **params: str | int
    ) -> dict[str, object]:
        value = self.call_whole(method, path, upload, **params)
        data = value.get("data", value)
        return data if isinstance(data, dict) else value

    def call_whole(
        self, method: str, path: str, upload: Upload | None = None, **params: str | int
    ) -> dict[str, object]:
        """Return an answer with its envelope. Raises MuxiError as the server meant it."""
        asked = self._answer(method, path, params, seconds=self._answer_seconds, upload=upload)
        with asked as response:
            response.read()
            return _object(response)

    @contextmanager
    def download(self, path: str, **params: str | int) -> Iterator[Iterator[bytes]]:
        """Give the bytes of an answer as they come. Raises MuxiError, also when they are cut off."""
        with self._answer("GET", path, params, seconds=SILENCE_SECONDS, accept="*/*") as response:
            yield response.iter_bytes()

    @contextmanager
    def stream(
        self, method: str, path: str, upload: Upload | None = None, **params: str | int
    ) -> Iterator[Iterator[ServerEvent]]:
        """Give the events of an operation, once the server has accepted the request.

        Raises MuxiError: at the start when it is refused, while reading when the line breaks.
        An `error` event is an event like any other here; see `failure`.
        """
        asked = self._answer(
            method, path, params, seconds=SILENCE_SECONDS, upload=upload, accept="text/event-stream"
        )
        with asked as response:
            if "text/event-stream" not in response.headers.get("content-type", ""):
                response.read()
                raise OperatorError(f"The server at {self.base_url} answered with something unexpected.")
            yield read_events(response.iter_bytes())

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int],
        *,
        seconds: float,
        upload: Upload | None = None,
        accept: str = "application/json",
    ) -> Iterator[httpx.Response]:
        request = self._http.build_request(
            method,
            path,
            params=params or None,
            content=upload.file if upload else None,
            headers={"Accept": accept, **(upload.headers if upload else {})},
            timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
        )
        self._sign(request)
        try:
            response = self._http.send(request, stream=True)
            try:
                if response.status_code >= 400:
                    response.read()
                    raise refusal(response)
                yield response
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise self._broken(error) from error

    def _sign(self, request: httpx.Request) -> None:
        if self._key is not None:
            target = request.url.raw_path.decode("ascii")
            request.headers["Authorization"] = authorization_header(
                self._key.id, self._key.secret, request.method, target, int(self._clock())
            )

    def _broken(self, error: httpx.HTTPError) -> OperatorError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return OperatorError(
                f"No MUXI server answers at {self.base_url}.",
                code="NotRunning",
                cure="Start one with: muxi-server start",
            )
        if isinstance(error, httpx.TimeoutException):
            return OperatorError(f"The server at {self.base_url} did not answer in time.", code="Timeout")
        return OperatorError(
            f"The connection to {self.base_url} broke: {str(error) or type(error).__name__}.",
            cure="See the server's own log for why; what it was doing may have gone on.",
        )


def refusal(response: httpx.Response) -> MuxiError:
    """Make our error of an error answer's envelope, or of whatever came in its place."""
    value = _object(response, strict=False)
    status = response.status_code
    message = value.get("message")
    error = BY_STATUS.get(status, RequestError if status < 500 else OperatorError)
    return error(
        message if isinstance(message, str) else f"The server answered {status} {response.reason_phrase}.",
        status=status,
        # In the answers about drafts `error` is the machine's word.
        code=_text(value.get("error_code")) or (_text(value.get("error")) if "draft" in value else None),
        stage=_text(value.get("stage")),
        cure=_text(value.get("cure")),
        details=_details(value.get("details")),
    )


def failure(event: ServerEvent) -> MuxiError:
    """Make our error of an `error` event."""
    return RequestError(
        event.text("message") or "The operation failed.",
        code=_text(event.data.get("error")),
        stage=_text(event.data.get("stage")),
        cure=_text(event.data.get("cure")),
        details=_details(event.data.get("details")),
    )


def _trust(base_url: str) -> ssl.SSLContext:
    return system_trust() if base_url.startswith("https:") else no_trust()


def _object(response: httpx.Response, *, strict: bool = True) -> dict[str, object]:
    try:
        value = json.loads(response.content)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    if strict:
        raise OperatorError("The server's answer is not a JSON object; is it a MUXI server at all?")
    return {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _details(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
