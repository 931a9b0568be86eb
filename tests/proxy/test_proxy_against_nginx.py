"""The same requests through us and through nginx: every difference is listed, and is intended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import h11
import pytest
import trio

from tests.proxy.corpus.differences import ALWAYS, DIFFERENCES
from tests.proxy.corpus.ordinary import REQUESTS
from tests.proxy.house import Wire, WireClosedError, open_house
from tests.proxy.nginx import find_nginx, running_nginx
from tests.proxy.recording import Recorder

if TYPE_CHECKING:
    from pathlib import Path

NGINX = find_nginx()

#: Values that differ from run to run, and what stands for them.
_VARIABLE = (
    (re.compile(r"^host: 127\.0\.0\.1:[0-9]+$"), "host: UPSTREAM"),
    (re.compile(r"^x-request-id: [0-9a-f-]{8,}$"), "x-request-id: NEW"),
    (re.compile(r"^traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$"), "traceparent: NEW"),
)


class Seen(NamedTuple):
    """A request's outcome: the status for the client (0: closed without one), and the upstream's view."""

    status: int
    line: str
    fields: frozenset[str]
    body: bytes

    def beside(self, other: Seen) -> set[str]:
        """The differences; what is only here begins with `+`, what is only there with `-`."""
        if self.line and other.line:
            ours, theirs = self.facts(), other.facts()
        else:
            ours, theirs = {self.verdict()}, {other.verdict()}
        return {f"+ {fact}" for fact in ours - theirs} | {f"- {fact}" for fact in theirs - ours}

    def verdict(self) -> str:
        return f"answered {self.status}, {'' if self.line else 'not '}forwarded"

    def facts(self) -> set[str]:
        return {self.verdict(), self.line, *self.fields, f"body {self.body!r}"}


def view(status: int, recorder: Recorder) -> Seen:
    """What a recorder saw of one request."""
    whole = [bytes(raw) for raw in recorder.raw if raw]
    if not whole:
        return Seen(status, "", frozenset(), b"")
    assert len(whole) == 1, "asked twice"
    head, _, _ = whole[0].partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    body = recorder.requests[0].body if recorder.requests else b"(refused by h11)"
    return Seen(status, short(line), frozenset(normal(field) for field in fields), body)


def normal(field: str) -> str:
    name, _, value = field.partition(":")
    field = f"{name.lower()}: {value.strip()}"
    for pattern, name_for_it in _VARIABLE:
        field = pattern.sub(name_for_it, field)
    return short(field)


def short(text: str) -> str:
    return text if len(text) < 200 else f"{text[:20]}…({len(text)})"


async def ask(port: int, request: bytes) -> int:
    wire = Wire(await trio.open_tcp_stream("127.0.0.1", port))
    async with wire.stream:
        try:
            await wire.send(request)
            return (await wire.reply(b"HEAD" if request.startswith(b"HEAD ") else b"GET")).status
        except (h11.RemoteProtocolError, WireClosedError, trio.BrokenResourceError):
            return 0


async def compare(home: Path) -> dict[str, set[str]]:
    """The differences of each request."""
    assert NGINX is not None
    found = {}
    async with open_house() as house:
        ours, theirs = Recorder(), Recorder()
        await house.formation(ours, "bot")
        behind_nginx = (await house.formation(theirs, "behind-nginx")).port
        async with running_nginx(NGINX, behind_nginx, home) as port:
            for name, request in REQUESTS.items():
                ours.forget()
                theirs.forget()
                # A kept connection would be used again, and be no new record.
                house.listener._context.upstreams.close()
                mine = view(await ask(house.port, request), ours)
                found[name] = mine.beside(view(await ask(port, request), theirs))
    return found


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_every_difference_from_nginx_is_listed(tmp_path: Path) -> None:
    found = await compare(tmp_path)
    assert ALWAYS.keys() <= found["get"]
    unusual = {name: differences - ALWAYS.keys() for name, differences in found.items()}
    listed = {name: differences for name, (differences, _) in DIFFERENCES.items()}
    assert {name: differences for name, differences in unusual.items() if differences} == listed


def test_every_difference_has_a_reason() -> None:
    assert DIFFERENCES.keys() <= REQUESTS.keys()
    assert all(len(reason) > 20 for _, reason in DIFFERENCES.values())
