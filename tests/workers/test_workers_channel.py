"""Both ends of a channel in one process."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from muxi.workers.channel import Channel, ChannelError
from muxi.workers.frames import LARGEST, FrameError
from muxi.workers.messages import (
    Drained,
    FromMain,
    FromWorker,
    Give,
    Retire,
    Take,
    Taken,
    main_decoder,
    worker_decoder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muxi.workers.messages import Message

BIG = Give(1, "::1", b"http", b"x" * (1 << 20))


@contextmanager
def ends() -> Iterator[tuple[Channel[FromWorker], Channel[FromMain]]]:
    ours, theirs = socket.socketpair()
    main, worker = Channel(ours, main_decoder()), Channel(theirs, worker_decoder())
    try:
        yield main, worker
    finally:
        main.close()
        worker.close()


def brought(mark: bytes) -> socket.socket:
    """A socket that can be told from others by what is read from it."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.send(mark)
    return ours


async def receive(channel: Channel[FromWorker], count: int) -> list[tuple[FromWorker, bytes | None]]:
    """So many messages, and what is read from the sockets with them."""
    found: list[tuple[FromWorker, bytes | None]] = []
    with trio.fail_after(30):
        while len(found) < count:
            for message, sock in await channel.receive():
                if sock is None:
                    found.append((message, None))
                else:
                    with sock:
                        assert not os.get_inheritable(sock.fileno())
                        found.append((message, sock.recv(100)))
    return found


async def test_sockets_come_with_their_messages_whatever_is_between() -> None:
    with ends() as (main, worker):
        expected: list[tuple[Message, bytes | None]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            for number in range(1, 300):
                if number % 3:
                    message: Message = Taken(number)
                    worker.send(message)
                    expected.append((message, None))
                else:
                    message = Give(number, "::1", b"http", b"y" * (number * 17))
                    worker.send(message, brought(b"%d" % number))
                    expected.append((message, b"%d" % number))
            assert await receive(main, len(expected)) == expected
            nursery.cancel_scope.cancel()


async def test_what_the_other_side_does_not_take_waits_in_its_turn() -> None:
    with ends() as (main, worker):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            first = worker.send(BIG, brought(b"a"))
            last = worker.send(Drained(1))
            await wait_all_tasks_blocked()
            with trio.move_on_after(0.01) as waiting:
                await worker.sent(first)
            assert waiting.cancelled_caught
            assert await receive(main, 2) == [(BIG, b"a"), (Drained(1), None)]
            with trio.fail_after(30):
                await worker.sent(last)
            nursery.cancel_scope.cancel()


async def test_a_socket_is_closed_once_it_has_been_sent_unless_it_is_kept() -> None:
    with ends() as (main, worker):
        given, kept = brought(b"a"), brought(b"b")
        worker.send(Give(1, "", b"", b""), given)
        worker.send(Give(2, "", b"", b""), kept, keep=True)
        assert (given.fileno(), kept.fileno() >= 0) == (-1, True)
        kept.close()
        assert [data for _, data in await receive(main, 2)] == [b"a", b"b"]


async def test_what_has_not_been_sent_is_closed_with_the_channel() -> None:
    with ends() as (_main, worker):
        worker.send(BIG)
        sock = brought(b"a")
        worker.send(Give(1, "", b"", b""), sock)
        worker.close()
        assert sock.fileno() == -1


async def test_the_end_and_what_cannot_be_understood() -> None:
    with ends() as (main, worker):
        worker.send(Taken(1))
        worker.close()
        assert await receive(main, 1) == [(Taken(1), None)]
        assert await main.receive() == []
        main.send(Retire())
        with pytest.raises(ChannelError):
            await main.run()
    with ends() as (main, worker):
        main._sock.send(b"\x00\x00\x00\x01\xff")
        with pytest.raises(ChannelError):
            await worker.receive()


async def test_a_message_from_the_wrong_side_ends_it() -> None:
    with ends() as (main, worker):
        worker.send(Take(1, "::1"))
        with pytest.raises(ChannelError):
            await main.receive()


async def test_a_message_that_is_too_large_is_refused_and_others_go_on() -> None:
    with ends() as (main, worker):
        with pytest.raises(FrameError):
            worker.send(Give(1, "", b"", b"x" * LARGEST))
        worker.send(Taken(1))
        assert await receive(main, 1) == [(Taken(1), None)]
