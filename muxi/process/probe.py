"""Asking a process over HTTP how it is, and how often to ask while it starts.

Each check has a connection of its own and shares nothing with the proxy's pools. It speaks
HTTP/1.1 through h11 directly: with hundreds of formations checks are frequent, an httpx client
made for one costs a millisecond and more, and its body iterators can't be left early cleanly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import h11
import trio

from muxi.process.ports import local_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.process.health import StartUp

FIRST_PAUSE = 0.01
RISE = 1.5
"""By how much each pause is longer than the one before: a start is seen half of its own time late at most."""
LEAST_PAUSE = 0.01
BODY_LIMIT = 64 * 1024


class ProbeResult(NamedTuple):
    """`detail` says what was seen: "GET /v1/health: 503", "connection refused".

    `answered`: there was an HTTP response, whatever it said.
    """

    healthy: bool
    detail: str
    answered: bool = True


def pause_before(attempt: int, health: StartUp) -> float:
    """Return the seconds to wait before the n-th check (from 1) of a starting process.

    The first ones follow each other faster than `interval`, as most programs are up in far less.
    """
    rising: float = FIRST_PAUSE * RISE ** min(attempt - 1, 32)
    return min(rising, max(health.interval, LEAST_PAUSE))


def most_attempts(health: StartUp) -> int:
    """Return how many checks fit into the budget, when each is answered at once."""
    attempts, elapsed, steady = 0, 0.0, max(health.interval, LEAST_PAUSE)
    while (pause := pause_before(attempts + 1, health)) < steady and elapsed + pause < health.budget:
        attempts += 1
        elapsed += pause
    return max(attempts + int((health.budget - elapsed) / steady), 1)


async def check(host: str, port: int, paths: Sequence[str], timeout: float) -> ProbeResult:
    """Check once, in at most `timeout` seconds for each path. Never raises but Cancelled.

    The paths are tried in order, the next one only when the one before answers 404. Redirections
    are not followed. Without any path there is nothing to ask, and the process counts as healthy.
    """
    result = ProbeResult(True, "no health check")
    for path in paths:
        status, result = await _ask(local_address(host), port, path, timeout)
        if status != 404:
            break
    return result


async def _ask(host: str, port: int, path: str, timeout: float) -> tuple[int | None, ProbeResult]:
    with trio.move_on_after(timeout):
        try:
            status = await _get_status(host, port, path)
        except (OSError, trio.BrokenResourceError, h11.ProtocolError) as error:
            return None, ProbeResult(False, f"GET {path}: {_in_words(error)}", answered=False)
        return status, ProbeResult(200 <= status < 300, f"GET {path}: {status}")
    return None, ProbeResult(False, f"GET {path}: no answer within {timeout:g} s", answered=False)


async def _get_status(host: str, port: int, path: str) -> int:
    connection = h11.Connection(h11.CLIENT)
    request = connection.send(h11.Request(method="GET", target=path, headers=_headers(host, port)))
    async with await trio.open_tcp_stream(host, port) as stream:
        await stream.send_all(request or b"")
        connection.send(h11.EndOfMessage())
        status = read = 0
        # The body is read, within bounds: many servers log an error when it is not taken.
        while read < BODY_LIMIT:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(BODY_LIMIT))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                read += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        return status


def _headers(host: str, port: int) -> list[tuple[str, str]]:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return [("Host", address), ("User-Agent", "muxi-server"), ("Accept", "*/*"), ("Connection", "close")]


def _in_words(error: Exception) -> str:
    if isinstance(error, h11.RemoteProtocolError):
        return "no valid HTTP answer"
    if isinstance(error, h11.LocalProtocolError):
        return "not a path that can be asked for"
    if isinstance(error, trio.BrokenResourceError):
        return "connection lost"
    return "connection refused" if _was_refused(error) else f"no connection ({error})"


def _was_refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        if isinstance(error, BaseExceptionGroup):  # trio's: one for each address tried
            return error.subgroup(ConnectionRefusedError) is not None
        error = error.__cause__ or error.__context__
    return False
