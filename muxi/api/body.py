"""Request bodies with back-pressure: what the handler has not taken, the client has to hold.

Quart's own body is a buffer without a bound that is filled as fast as the client sends. Here the
pump that receives from the ASGI server waits while the buffer is full, so the server stops
reading the socket, TCP's window closes, and a slow disk slows the client down.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

import trio
from quart.wrappers.request import Body

from muxi.errors import RequestError, TooLarge, Unprocessable

if TYPE_CHECKING:
    import hashlib
    from collections.abc import AsyncIterator, Generator

HIGH_WATER = 256 * 1024
"""Bytes held before the pump waits. One more message, which it had already received, may come on top."""


class BoundedBody(Body):
    """A body that is read by `async for`, piece by piece; `await` on the whole is refused."""

    def __init__(self, *_limits: int | None) -> None:
        # Quart's constructor makes asyncio events, and its limits come too late; none of it is used.
        self._data = bytearray()
        self._finished = trio.Event()
        self._arrived = trio.Event()
        self._taken = trio.Event()
        self._discarding = False
        #: What has been taken, for requests that may come again (`muxi.api.repeats`); else None.
        self.digest: hashlib._Hash | None = None

    @property
    def buffered(self) -> int:
        """Bytes received and not yet taken."""
        return len(self._data)

    async def feed(self, data: bytes) -> None:
        """Give the next piece, waiting while the reader is behind."""
        while len(self._data) >= HIGH_WATER and not self._discarding:
            self._taken = trio.Event()
            await self._taken.wait()
        self.append(data)

    def append(self, data: bytes) -> None:
        if data and not self._discarding:
            self._data += data
            self._arrived.set()

    def set_complete(self) -> None:
        self._finished.set()
        self._arrived.set()

    async def discard_rest(self) -> None:
        """Throw away what is there and what comes, and return when the body has ended."""
        self._discarding = True
        self.clear()
        await self._finished.wait()

    def clear(self) -> None:
        self._data.clear()
        self._taken.set()

    def __aiter__(self) -> BoundedBody:
        return self

    async def __anext__(self) -> bytes:
        while not self._data:
            if self._finished.is_set():
                raise StopAsyncIteration
            self._arrived = trio.Event()
            await self._arrived.wait()
        data = bytes(self._data)
        self.clear()
        if self.digest is not None:
            self.digest.update(data)
        return data

    def __await__(self) -> Generator[Any, None, NoReturn]:
        raise TypeError("this body has no bound on its size: read it piece by piece")


class Pieces:
    """A body's pieces; RequestError 408 when the next one takes longer than `pause` seconds.

    There is no limit on the whole, so a slow line may take its time (the original cut every upload
    off after 15 seconds).
    """

    def __init__(self, body: AsyncIterator[bytes], pause: float) -> None:
        self._body = body
        self._pause = pause

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        try:
            with trio.fail_after(self._pause):
                return await anext(self._body)
        except trio.TooSlowError:
            raise _stalled(self._pause) from None


async def read_all(body: AsyncIterator[bytes], limit: int, pause: float) -> bytes:
    """Read a body into memory. Raises TooLarge past `limit` bytes, RequestError 408 as `Pieces`."""
    data = bytearray()
    async for piece in Pieces(body, pause):
        data += piece
        if len(data) > limit:
            raise TooLarge(
                f"The JSON body is larger than {limit:,} bytes.",
                cure="Send the bundle itself, as application/gzip, or name a file in bundle_path.",
                details={"limit": limit},
            )
    return bytes(data)


async def read_object(
    body: AsyncIterator[bytes], limit: int, pause: float, *, empty: bool = False
) -> dict[str, object]:
    """Read a JSON object; `empty`: no body at all is one, too. Raises Unprocessable for all else."""
    data = await read_all(body, limit, pause)
    if empty and not data.strip():
        return {}
    try:
        # Parsing megabytes takes long enough to be felt by everybody else.
        value = (
            await trio.to_thread.run_sync(json.loads, data) if len(data) > HIGH_WATER else json.loads(data)
        )
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "it can't be decoded"
        raise Unprocessable(
            f"The body is not JSON: {reason}.", code="InvalidJSON", cure="Send a JSON object."
        ) from None
    if not isinstance(value, dict):
        raise Unprocessable("The body is not a JSON object.", code="InvalidJSON", cure="Send a JSON object.")
    return value


def _stalled(pause: float) -> RequestError:
    return RequestError(
        f"Nothing of the body arrived for {pause:g} seconds.",
        code="BodyTimeout",
        status=408,
        cure="Send it again; it may take any time, but not pause that long.",
    )
