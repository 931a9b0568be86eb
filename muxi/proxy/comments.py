"""Event streams (HTML Standard, 9.2): telling them, counting them, and comments when they are quiet.

An agent may think for minutes, and what stands between it and its reader (a load balancer, a
phone's network) may cut a connection on which nothing moves. With `stream_ping` a formation's
quiet streams get the comment `: ping`, which readers pass over. The sweep finds them, so there is
no timer a stream; it is written by the sweep itself, and only when that can't disturb: between two
events, with no send half-way, and in a chunk of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxi.proxy.bodies import response_body

if TYPE_CHECKING:
    from muxi.proxy.connection import Connection
    from muxi.proxy.heads import ResponseHead

PING: Final = b": ping\n\n"
NEVER: Final = float("inf")
_PLAIN: Final = frozenset({b"", b"identity"})


def is_event_stream(response: ResponseHead, *, plain: bool = False) -> bool:
    """Tell by the media type, whatever its parameters; with `plain`, if it is not encoded besides."""
    found = False
    for line in response.fields:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"content-type":
            found = value.partition(b";")[0].strip().lower() == b"text/event-stream"
        elif plain and name == b"content-encoding" and value.strip().lower() not in _PLAIN:
            return False
    return found


class EventBody:
    """The body of an event stream that gets comments; see `bodies.Body`.

    Its payload is followed, to know whether an event is under way, and goes on in chunks of our
    own, one a read, so that each send ends between two chunks.
    """

    __slots__ = ("_client", "_inner", "_owed", "_since", "_tail", "_wrap", "done", "surplus")

    def __init__(self, client: Connection, length: int, *, http11: bool) -> None:
        self._client = client
        self._inner = response_body(length, http11=False)
        self._wrap = http11
        #: The end of what has gone out, and when that was.
        self._tail = b""
        self._since = client.context.clock.now
        #: The rest of a comment that the socket took in part.
        self._owed = b""
        self.done = False
        self.surplus = b""

    def take(self, data: bytes) -> bytes:
        payload = self._inner.take(data)
        self.done, self.surplus = self._inner.done, self._inner.surplus
        self._since = self._client.context.clock.now
        self._tail = (self._tail + payload[-4:])[-4:]
        return self._framed(payload) + (self._last() if self.done else b"")

    def finish(self) -> bytes:
        self._inner.finish()
        self.done = True
        return self._framed(b"") + self._last()

    @property
    def between_events(self) -> bool:
        """Whether nothing has come yet, or the last that came is a blank line."""
        lines = self._tail.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return not lines or lines.endswith(b"\n\n")

    def comment_if_quiet(self, now: float) -> None:
        """Send a comment if nothing has come for long enough and this is a good moment."""
        client = self._client
        if now - self._since < client.route.policy.stream_ping or self._owed or not self.between_events:
            return
        if client.write_deadline < NEVER:
            return  # A send is half-way.
        self._since = now
        data = self._framed(PING)
        try:
            sent = client.sock.send(data)
        except OSError:
            return  # It takes nothing now, or has left; its task sees to that.
        self._owed = data[sent:]

    def _framed(self, payload: bytes) -> bytes:
        owed, self._owed = self._owed, b""
        if payload and self._wrap:
            payload = b"%x\r\n%b\r\n" % (len(payload), payload)
        return owed + payload

    def _last(self) -> bytes:
        return b"0\r\n\r\n" if self._wrap else b""
