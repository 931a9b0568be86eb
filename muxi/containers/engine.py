"""The client of a container engine: Docker's Engine API, which Podman speaks as well.

One short-lived HTTP client a request, so that nothing of a cancelled one is left in a pool, and a
deadline on every request but two, which wait as long as a container lives: `wait` and `logs`.
The version of the API is agreed upon once; an engine that has gone is asked anew when it is back.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import httpx
import msgspec
import trio

from muxi.containers.failures import EngineRefused, not_reached, too_old, too_slow
from muxi.containers.wire import EngineInfo, EngineVersion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from muxi.containers.address import Address

OLDEST: Final = (1, 41)
"""Docker 20.10 and Podman 4.0: the first with `one-shot` statistics."""
NEWEST: Final = (1, 47)
"""The newest version that was read for this client; an engine that wants more is given what it wants."""

ANSWER_SECONDS = 15.0
BAD: Final = 400
JSON: Final = {"Content-Type": "application/json"}

T = TypeVar("T")


class Engine:
    """One engine. Used by many tasks at once. `locate` says where it is, or raises EngineUnavailable."""

    def __init__(self, locate: Callable[[], Address]) -> None:
        self._locate = locate
        self._prefix: str | None = None
        self._agreed_at: Address | None = None
        self._rootless: bool | None = None

    async def version(self, seconds: float = ANSWER_SECONDS) -> tuple[Address, EngineVersion]:
        """Ask it who it is, and agree on a version of the API. Raises EngineUnavailable, EngineRefused."""
        address = self._locate()
        with _deadline(address, seconds, "GET /version"):
            async with self._open(address, "GET", "/version") as response:
                found = await _decode(response, EngineVersion)
        chosen = agree(found)
        if chosen is None:
            raise too_old(address, found.api_version, ".".join(map(str, OLDEST)))
        self._prefix, self._agreed_at = chosen, address
        return address, found

    async def rootless(self) -> bool:
        """Say whether it runs as a user, who is root inside its containers. Raises as `get` does."""
        if self._rootless is None:
            options = (await self.get("/info", EngineInfo)).security_options or ()
            self._rootless = any("rootless" in option for option in options)
        return self._rootless

    async def get(
        self,
        path: str,
        kind: type[T],
        *,
        params: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> T:
        """Ask for something. Raises EngineUnavailable, EngineRefused."""
        address, prefix = await self._agreed()
        with _deadline(address, seconds, f"GET {path}"):
            async with self._open(address, "GET", prefix + path, params=params) as response:
                return await _decode(response, kind)

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        seconds: float = ANSWER_SECONDS,
    ) -> bytes:
        """Have something done; returns the answer's body. Raises EngineUnavailable, EngineRefused."""
        address, prefix = await self._agreed()
        with _deadline(address, seconds, f"{method} {path}"):
            async with self._open(address, method, prefix + path, params=params, body=body) as response:
                return await response.aread()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the pieces of an answer as they come, with no deadline once it has begun to.

        Raises EngineUnavailable, also when the answer is cut off, and EngineRefused.
        """
        address, prefix = await self._agreed()
        with trio.CancelScope(deadline=trio.current_time() + seconds) as beginning:
            async with self._open(address, method, prefix + path, params=params) as response:
                beginning.deadline = float("inf")
                yield response.aiter_bytes()
        if beginning.cancelled_caught:
            raise too_slow(address, seconds, f"{method} {path}")

    async def _agreed(self) -> tuple[Address, str]:
        address = self._locate()
        if self._prefix is None or address != self._agreed_at:
            await self.version()
            assert self._prefix is not None
        return address, self._prefix

    @asynccontextmanager
    async def _open(
        self,
        address: Address,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
    ) -> AsyncIterator[httpx.Response]:
        try:
            async with (
                _client(address) as client,
                client.stream(method, path, params=params, content=_json(body), headers=JSON) as response,
            ):
                if response.status_code >= BAD:
                    raise EngineRefused(response.status_code, _words(await response.aread()))
                yield response
        except httpx.HTTPError as error:
            self._prefix = self._rootless = None  # when it is back it may be another one
            raise not_reached(address, str(error) or type(error).__name__) from error


def agree(engine: EngineVersion) -> str | None:
    """Return the prefix of all paths in the newest version that both speak; None: it is too old. Pure."""
    newest, least = _numbers(engine.api_version), _numbers(engine.min_a_p_i_version)
    if newest < OLDEST:
        return None
    major, minor = max(least, min(newest, NEWEST))
    return f"/v{major}.{minor}"


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)


def _client(address: Address) -> httpx.AsyncClient:
    uds = None if address.socket is None else str(address.socket)
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=uds, verify=False),
        base_url=address.url,
        timeout=None,  # noqa: S113 - the scopes around it are
        trust_env=False,
    )


def _json(body: object) -> bytes | None:
    return None if body is None else msgspec.json.encode(body)


def _words(body: bytes) -> str:
    """Return what the engine says in an error's body."""
    try:
        said = msgspec.json.decode(body, type=dict[str, object]).get("message")
    except msgspec.MsgspecError:
        said = body.decode("utf-8", "replace").strip()
    return str(said)[:1000] or "no reason given"


async def _decode(response: httpx.Response, kind: type[T]) -> T:
    body = await response.aread()
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise EngineRefused(response.status_code, f"an answer that can't be read ({error})") from error


@contextmanager
def _deadline(address: Address, seconds: float, what: str) -> Iterator[None]:
    """Turn a deadline that has passed into the error for it."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise too_slow(address, seconds, what)
