"""Whether anybody listens on a TCP port of this machine."""

from __future__ import annotations

import errno
import socket

import trio

POLL_INTERVAL = 0.02


def local_address(host: str) -> str:
    """Return the address at which a server bound to `host` is reached from this machine."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def is_free(host: str, port: int) -> bool:
    """Say whether nobody listens on the port. Takes no time (20 ms at the very most)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        # Without this a closed connection in TIME_WAIT would count as a listener.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE or not _accepts(family, local_address(host), port)
    return True


async def wait_free(host: str, port: int, timeout: float) -> bool:
    """Wait up to `timeout` seconds until nobody listens on the port; say whether that came.

    It is asked every 20 ms, as there is no event for this.
    """
    with trio.move_on_after(timeout):
        while not is_free(host, port):  # noqa: ASYNC110 - the kernel tells nobody of it
            await trio.sleep(POLL_INTERVAL)
        return True
    return False


def _accepts(family: socket.AddressFamily, host: str, port: int) -> bool:
    # TIME_WAIT left by a program that did not set SO_REUSEADDR: only a try to connect tells. On
    # this machine it is answered at once; only a listener with a full backlog uses up the time.
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.settimeout(0.02)
        return trial.connect_ex((host, port)) != errno.ECONNREFUSED
