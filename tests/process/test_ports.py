from __future__ import annotations

import socket

import pytest
import trio

from muxi.process.ports import is_free, local_address, wait_free


def listen(host: str = "127.0.0.1") -> socket.socket:
    listener = socket.create_server((host, 0))
    listener.setblocking(False)
    return listener


def test_a_listener_takes_the_port_until_it_is_closed() -> None:
    with listen() as listener:
        port = listener.getsockname()[1]
        assert not is_free("127.0.0.1", port)
    assert is_free("127.0.0.1", port)


def test_a_listener_on_all_addresses_takes_it_too() -> None:
    with listen("0.0.0.0") as listener:
        port = listener.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        assert not is_free("0.0.0.0", port)


def test_connections_that_outlive_their_listener_do_not_count() -> None:
    """Also when the listener did not set SO_REUSEADDR, so that nobody could bind it now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = listener.accept()
    with client, server:
        server.close()  # the server's end is the one that goes to TIME_WAIT
        client.close()
        assert is_free("127.0.0.1", port)


async def test_waits_until_the_port_is_free() -> None:
    listener = listen()
    port = listener.getsockname()[1]
    results = []

    async def wait() -> None:
        results.append(await wait_free("127.0.0.1", port, 30))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert not results
            listener.close()
    assert results == [True]


async def test_waits_no_longer_than_told() -> None:
    with listen() as listener:
        assert not await wait_free("127.0.0.1", listener.getsockname()[1], 0.05)


@pytest.mark.parametrize(
    ("bound", "reached"),
    [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.1.2.3", "10.1.2.3"), ("::1", "::1")],
)
def test_a_wildcard_is_reached_over_loopback(bound: str, reached: str) -> None:
    assert local_address(bound) == reached
