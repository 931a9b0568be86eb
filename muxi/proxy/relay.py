"""The rest of a response on its way to the client, each read sent on at once.

There may be ten thousand event streams that say something once a second. So a quiet relay waits in
few frames that hold little, and what comes on it is passed on by the poller's task: the relay's own
is woken only for what is more than one read and one send.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

import trio

from muxi.proxy.comments import EventBody
from muxi.proxy.disconnect import discard, goes_on
from muxi.proxy.upstream import UpstreamError

if TYPE_CHECKING:
    from muxi.proxy.bodies import Body
    from muxi.proxy.connection import Connection
    from muxi.proxy.upstream import Upstream

SMALL_READ: Final = 16 << 10
BIG_READ: Final = 256 << 10
#: Bytes after which one transfer lets other tasks run.
TURN: Final = 1 << 20

#: What a step left: nothing to read; perhaps more to read; bytes that the client did not take.
QUIET, MORE, STUCK = range(3)


class Relay:
    """What is still to come of one response. `top`, its head and what came with it, goes first.

    `events`: it is an event stream; `begun`: whose first event is still to come, and when its
    request began, else 0.
    """

    __slots__ = ("_body", "_client", "_events", "_failure", "_moved", "_size", "_state", "_task", "_top",
                 "_upstream", "begun", "keep", "reusable", "silence")  # fmt: skip

    def __init__(self, client: Connection, body: Body, top: bytes, *, events: bool) -> None:
        policy, upstream = client.route.policy, client.upstream
        assert upstream is not None
        self._client = client
        self._upstream: Upstream = upstream
        self._body = body
        self._top = top
        self._events = events
        self._size = SMALL_READ
        self._moved = 0
        self._state = MORE
        self._task: trio.lowlevel.Task | None = None
        self._failure: Exception | None = None
        self.begun = 0.0
        #: Whether the client's connection can go on after this, and the formation's.
        self.keep = False
        self.reusable = False
        #: For how many seconds the formation may send nothing; 0: for ever.
        self.silence = policy.stream_idle_timeout if events else policy.response_idle_timeout

    async def run(self) -> bool:
        """Pass everything on, up to the end; tell whether the client's connection can go on.

        Raises UpstreamError and BodyError where the formation fails, OSError where the client does.
        """
        opened = trio.current_time() if self._events else 0.0
        if self._events:
            self._open()
        try:
            await self._client.send(self._top)
            self._top = b""
            self._client.allow_silence(self.silence)
            while not self._body.done:
                state = self._step()
                if state == QUIET and not self._body.done:
                    self._task = trio.lowlevel.current_task()
                    self._client.context.poller.follow(self._upstream.fd, self._stirred)
                    await trio.lowlevel.wait_task_rescheduled(self._abort)
                    state = self._left()
                if state == STUCK:
                    await self._client.flush()
                if self._moved > TURN:
                    self._moved = 0
                    await trio.lowlevel.checkpoint()
        except OSError:
            if goes_on(self._client.route):
                await discard(self._client, self._upstream, self._body)
            raise
        finally:
            if self._events:
                self._close(opened)
        self._client.release(self._upstream, reusable=self.reusable and not self._body.surplus)
        return self.keep

    def _step(self) -> int:
        """Read once and send that on. Raises as `run` does."""
        client, size = self._client, self._size
        try:
            data = self._upstream.sock.recv(size)
        except BlockingIOError:
            return QUIET
        except OSError as error:
            raise UpstreamError(f"read: {error.strerror}") from error
        if self.silence:
            client.allow_silence(self.silence)
        read = len(data)
        if read:
            if self.begun:
                client.route.traffic.first_event.add(perf_counter() - self.begun)
                self.begun = 0.0
            self._size = BIG_READ if read == size or read > SMALL_READ else SMALL_READ
            self._moved += read
            data = self._body.take(data)
            client.route.traffic.bytes_out += len(data)
        else:
            data = self._body.finish()
        if data and not client.offer(data):
            return STUCK
        return MORE if read == size else QUIET

    def _stirred(self) -> None:
        """Pass on what has come while the task waits, and wake it for more than that. Does not raise."""
        try:
            self._state = self._step()
        except Exception as error:  # noqa: BLE001 - it is the task's
            self._failure = error
        else:
            if self._state == QUIET and not self._body.done:
                return
        task = self._task
        assert task is not None
        self._abort()
        trio.lowlevel.reschedule(task)

    def _left(self) -> int:
        """Give the state in which the poller has left this."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return self._state

    def _abort(self, _: object = None) -> trio.lowlevel.Abort:
        self._task = None
        self._client.context.poller.unwatch(self._upstream.fd)
        return trio.lowlevel.Abort.SUCCEEDED

    def _open(self) -> None:
        client, target = self._client, self._client.target
        assert target is not None
        target.streams += 1
        client.route.traffic.streams += 1
        if isinstance(self._body, EventBody):
            client.context.commented.add(self._body)

    def _close(self, opened: float) -> None:
        client, target = self._client, self._client.target
        assert target is not None
        target.streams -= 1
        traffic = client.route.traffic
        traffic.streams -= 1
        traffic.stream_seconds.add(trio.current_time() - opened)
        if isinstance(self._body, EventBody):
            client.context.commented.discard(self._body)
