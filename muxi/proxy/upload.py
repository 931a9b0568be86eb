"""A request body that is still coming in while the formation may already answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from muxi.proxy.bodies import Body, BodyError, BodyTooLargeError
from muxi.proxy.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from muxi.proxy.connection import Connection

SMALL_READ: Final = 16 << 10
BIG_READ: Final = 256 << 10
TURN: Final = 1 << 20


class UploadError(Exception):
    """The client's body is malformed, or larger than it may be; `status` is the answer."""

    def __init__(self, error: BodyError) -> None:
        super().__init__(str(error))
        self.status = 413 if isinstance(error, BodyTooLargeError) else 400


class Upload:
    """Sends the rest of a body on. `done` once all of it has gone; `failure` if it was malformed."""

    __slots__ = ("_body", "_client", "_upstream", "done", "failure")

    def __init__(self, client: Connection, upstream: Upstream, body: Body) -> None:
        self._client = client
        self._upstream = upstream
        self._body = body
        self.done = False
        upstream.uploading = True
        self.failure: UploadError | None = None

    async def run(self, first: bytes) -> None:
        """Send `first`, then the body as it comes; end the exchange if the client fails."""
        try:
            await self._send(first)
            await self._pump()
        except BodyError as error:
            self.failure = UploadError(error)
            # Wakes the one who waits for a response that can't come.
            self._upstream.end()
        except UpstreamError:
            return  # It wants no more of the body; its answer may be there already.
        except OSError:
            self._client.scope.cancel()

    async def _pump(self) -> None:
        size, moved, body = SMALL_READ, 0, self._body
        while not body.done:
            data = await self._client.read_body(size)
            if not data:
                self._client.scope.cancel()
                return
            if len(data) == size:
                size = BIG_READ
            moved += len(data)
            self._client.route.traffic.bytes_in += len(data)
            await self._send(body.take(data))
            data = b""
            if moved > TURN:
                moved = 0
                await trio.lowlevel.checkpoint()
        self._client.buffer = body.surplus
        self.done = True
        self._upstream.uploading = False
        self._client.allow_silence(self._client.route.policy.response_idle_timeout)

    async def _send(self, data: bytes) -> None:
        client = self._client
        client.upload_deadline = client.context.clock.now + client.context.limits.upstream_stall_timeout
        await self._upstream.send(data)
        client.upload_deadline = float("inf")
