"""Tells a connection at once what happens on sockets that its task does not read from just now.

Two things. A task that waits for a formation's first byte, or in a quiet event stream, does not
read from its client, so it would not see the client's FIN or RST. And a quiet stream is too small a
thing to wake a task for each event. One private poller watches every client's socket for its
leaving and the formation's socket of every quiet response for more (see `relay`); one task turns it.

A client that closes only its sending side counts as gone, as it does with Go's net/http and with
nginx: TCP can't tell the two apart. Over TLS the client may also say that it leaves within the
encryption. The poller can't see that, so there it tells whenever something has come (`stirred`).

A socket must be unwatched before it is closed: a child forked meanwhile may hold a copy, which
would keep the registration alive while the number is used again.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

#: Sockets told of in one turn; others get theirs in the next, after tasks have had a turn.
BATCH: Final = 256


class Leaver(Protocol):
    """What is told that its peer has left."""

    def hung_up(self) -> None:
        """Note it. Called on the event loop, possibly more than once; must not block or raise."""


class _Watch:
    """What is watched, by descriptor."""

    def __init__(self) -> None:
        self._leavers: dict[int, Leaver] = {}
        self._stirred: dict[int, Callable[[], None]] = {}

    def _tell(self, fd: int) -> None:
        leaver = self._leavers.get(fd)
        if leaver is not None:
            leaver.hung_up()
        else:
            self._stir(fd)

    def _stir(self, fd: int) -> None:
        stirred = self._stirred.get(fd)
        if stirred is not None:
            stirred()


if sys.platform == "linux":
    LEFT: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

    class Poller(_Watch):
        """Watches by epoll: clients edge-triggered and not for readability, so that data wakes nobody."""

        def __init__(self) -> None:
            super().__init__()
            self._epoll = select.epoll()

        def watch(self, fd: int, leaver: Leaver, stirred: Callable[[], None] | None = None) -> None:
            """Tell of a client's leaving; with `stirred`, also that something has come."""
            events = select.EPOLLRDHUP | select.EPOLLET
            if stirred is not None:
                self._stirred[fd] = stirred
                events |= select.EPOLLIN
            self._leavers[fd] = leaver
            self._epoll.register(fd, events)

        def follow(self, fd: int, stirred: Callable[[], None]) -> None:
            """Tell again and again that there is something to read, or the end. `stirred` must not raise."""
            self._epoll.register(fd, select.EPOLLIN)
            self._stirred[fd] = stirred

        def unwatch(self, fd: int) -> None:
            """End `watch` or `follow`."""
            stirred, leaver = self._stirred.pop(fd, None), self._leavers.pop(fd, None)
            if stirred is not None or leaver is not None:
                self._epoll.unregister(fd)

        async def run(self) -> None:
            """Tell what happens; for ever."""
            number = self._epoll.fileno()
            while True:
                await trio.lowlevel.wait_readable(number)
                # No await until the batch is done, so no number in it can be closed and used again.
                for fd, events in self._epoll.poll(0, BATCH):
                    if events & LEFT:
                        self._tell(fd)
                    else:
                        self._stir(fd)

        def close(self) -> None:
            self._epoll.close()

else:

    class Poller(_Watch):
        """Watches by kqueue. A client's low-water mark is out of reach, so that only the end wakes it."""

        def __init__(self) -> None:
            super().__init__()
            self._kqueue = select.kqueue()

        def watch(self, fd: int, leaver: Leaver, stirred: Callable[[], None] | None = None) -> None:
            """Tell of a client's leaving; with `stirred`, also that something has come."""
            if stirred is not None:
                self._stirred[fd] = stirred
            self._leavers[fd] = leaver
            self._change(fd, select.KQ_EV_ADD | select.KQ_EV_CLEAR)

        def follow(self, fd: int, stirred: Callable[[], None]) -> None:
            """Tell again and again that there is something to read, or the end. `stirred` must not raise."""
            self._stirred[fd] = stirred
            self._change(fd, select.KQ_EV_ADD)

        def unwatch(self, fd: int) -> None:
            """End `watch` or `follow`."""
            stirred, leaver = self._stirred.pop(fd, None), self._leavers.pop(fd, None)
            if stirred is not None or leaver is not None:
                self._change(fd, select.KQ_EV_DELETE)

        def _change(self, fd: int, flags: int) -> None:
            low = 1 if fd in self._stirred else 1 << 30
            event = select.kevent(fd, select.KQ_FILTER_READ, flags, fflags=select.KQ_NOTE_LOWAT, data=low)
            self._kqueue.control([event], 0)

        async def run(self) -> None:
            """Tell what happens; for ever."""
            number = self._kqueue.fileno()
            while True:
                await trio.lowlevel.wait_readable(number)
                for event in self._kqueue.control(None, BATCH, 0):
                    if event.flags & select.KQ_EV_EOF:
                        self._tell(event.ident)
                    else:
                        self._stir(event.ident)

        def close(self) -> None:
            self._kqueue.close()
