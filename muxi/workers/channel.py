"""One end of the connection between the main process and a worker: messages, and sockets with them.

A pair of Unix sockets, of which the worker inherits one by its descriptor; nobody else can reach
it. The system sends a socket along with a message's first bytes, and gives it out no later than
the last of them; one at most for each read. So sockets that come belong, in their order, to the
messages that bring one.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec
import trio

from muxi.workers.frames import FrameError, Frames, frame
from muxi.workers.messages import encode

if TYPE_CHECKING:
    from muxi.workers.messages import Message

T = TypeVar("T", bound="Message")

READ: Final = 64 << 10
#: Received descriptors are for no program that we start. macOS has no such flag: it is set after.
PRIVATE: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
#: Messages that may wait to be sent; more is a sign that the other side takes none.
MOST_WAITING: Final = 20_000


class ChannelError(Exception):
    """The other side is gone, takes nothing, or says what can't be understood."""


class _Waiting:
    """What of a message is still to be sent."""

    __slots__ = ("_keep", "_sock", "rest")

    def __init__(self, sock: socket.socket | None, *, keep: bool) -> None:
        self.rest = memoryview(b"")
        self._sock = sock
        self._keep = keep

    def push(self, channel: socket.socket) -> bool:
        """Send what can be sent at once; tell whether that was all. Raises OSError."""
        while self.rest:
            try:
                size = self._send(channel)
            except BlockingIOError:
                return False
            self.rest = self.rest[size:]
            self.close()
        return True

    def _send(self, channel: socket.socket) -> int:
        if self._sock is None:
            return channel.send(self.rest)
        rights = array.array("i", [self._sock.fileno()])
        return channel.sendmsg([self.rest], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    def close(self) -> None:
        """Have no more to do with the socket."""
        if self._sock is not None and not self._keep:
            self._sock.close()
        self._sock = None


class Channel(Generic[T]):
    """Reads messages of kind T, and sends others. One task reads, `run` is the one that sends."""

    def __init__(self, sock: socket.socket, decoder: msgspec.msgpack.Decoder[T]) -> None:
        """Take a connected Unix socket, which is closed by `close`."""
        sock.setblocking(False)
        self._sock = sock
        self._decoder = decoder
        self._frames = Frames()
        self._sockets: deque[socket.socket | None] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._asked = trio.Event()
        self._progress = trio.Event()
        self._accepted = self._sent = 0

    def send(self, message: Message, sock: socket.socket | None = None, *, keep: bool = False) -> int:
        """Send a message, now if that can be, else in its turn; gives its number. Does not wait.

        A socket with it is closed after that, unless the caller keeps it, and keeps it open till then.
        Raises FrameError for a message that is too large.
        """
        waiting = _Waiting(sock, keep=keep)
        try:
            waiting.rest = memoryview(frame(encode(message)))
        except FrameError:
            waiting.close()
            raise
        self._accepted += 1
        if not self._waiting and self._push(waiting):
            self._sent += 1
        else:
            self._waiting.append(waiting)
            self._asked.set()
        return self._accepted

    def _push(self, waiting: _Waiting) -> bool:
        try:
            return waiting.push(self._sock)
        except OSError:
            return False  # `run` meets it again, and may tell.

    async def sent(self, number: int) -> None:
        """Return once the message of that number has been sent."""
        while self._sent < number:
            await self._progress.wait()

    async def run(self) -> None:
        """Send what could not be sent at once; for ever. Raises ChannelError."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            while self._waiting:
                await self._send_first()
            self._progress.set()
            self._progress = trio.Event()

    async def _send_first(self) -> None:
        if len(self._waiting) > MOST_WAITING:
            raise ChannelError("the other side takes no messages")
        try:
            while not self._waiting[0].push(self._sock):
                await trio.lowlevel.wait_writable(self._sock)
        except OSError as error:
            raise ChannelError(f"send: {error.strerror}") from error
        self._waiting.popleft()
        self._sent += 1

    async def receive(self) -> list[tuple[T, socket.socket | None]]:
        """Give the next messages and what they bring: None if we had no descriptor left for it.

        An empty list is the end. Raises ChannelError.
        """
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                data = self._read()
            except BlockingIOError:
                continue
            except OSError as error:
                raise ChannelError(f"receive: {error.strerror}") from error
            if not data:
                return []
            try:
                found = [self._decoder.decode(content) for content in self._frames.feed(data)]
            except (FrameError, msgspec.MsgspecError) as error:
                raise ChannelError(str(error)) from error
            if found:
                return [(message, self._sockets.popleft() if message.brings else None) for message in found]

    def _read(self) -> bytes:
        room = socket.CMSG_SPACE(array.array("i").itemsize)
        data, ancillary, flags, _ = self._sock.recvmsg(READ, room, PRIVATE)
        for _, _, rights in ancillary:
            descriptors = array.array("i")
            descriptors.frombytes(rights[: len(rights) - len(rights) % descriptors.itemsize])
            for descriptor in descriptors:
                self._sockets.append(_socket(descriptor))
        if flags & socket.MSG_CTRUNC and not ancillary:
            self._sockets.append(None)
        return data

    def close(self) -> None:
        """Close it, and what it holds. The other side's `receive` comes to its end."""
        self._sock.close()
        for sock in self._sockets:
            if sock is not None:
                sock.close()
        for waiting in self._waiting:
            waiting.close()
        self._waiting.clear()


def _socket(descriptor: int) -> socket.socket | None:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return None
    if not PRIVATE:
        sock.set_inheritable(False)
    return sock
