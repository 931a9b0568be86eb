from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from muxi.process import listeners, procfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

US = [os.getpid()]
STRANGER = [1]


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listen(stack: ExitStack, host: str, port: int = 0, *, reuse: bool = False) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = stack.enter_context(socket.socket(family))
    if reuse:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    sock.listen()
    return int(sock.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_listener_is_known_by_the_process_that_holds_it(sockets: ExitStack, host: str) -> None:
    port = listen(sockets, host)
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    assert listeners.owned(asked, port, US) is True
    assert listeners.owned(host, port, US) is True
    assert listeners.owned(asked, port, []) is False


def test_ipv4_is_reached_through_a_listener_for_both(sockets: ExitStack) -> None:
    assert listeners.owned("127.0.0.1", listen(sockets, "::"), US) is True


def test_nobody_listens_so_nothing_can_be_told(port: int) -> None:
    assert listeners.owned("127.0.0.1", port, US) is None


def test_another_address_of_the_same_port_does_not_matter(sockets: ExitStack) -> None:
    port = listen(sockets, "127.0.0.2")
    assert listeners.owned("127.0.0.1", port, []) is None


def test_the_exact_address_wins_over_the_wildcard(sockets: ExitStack) -> None:
    port = listen(sockets, "127.0.0.1", reuse=True)
    listen(sockets, "0.0.0.0", port, reuse=True)
    inodes = listeners._listening("127.0.0.1", port)
    assert len(inodes) == 1


def test_a_socket_that_is_shared_with_a_stranger_is_not_its_own(
    sockets: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = listen(sockets, "127.0.0.1", reuse=True)
    listen(sockets, "127.0.0.1", port, reuse=True)
    assert listeners.owned("127.0.0.1", port, US) is True
    ours = sorted(listeners._listening("127.0.0.1", port))
    monkeypatch.setattr(listeners, "_sockets", lambda _pid: iter(ours[:1]))
    assert listeners.owned("127.0.0.1", port, US) is False


def test_descriptors_that_may_not_be_read_tell_nothing(
    sockets: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_pid: int) -> Iterator[int]:
        raise PermissionError

    port = listen(sockets, "127.0.0.1")
    monkeypatch.setattr(listeners, "_sockets", refuse)
    assert listeners.owned("127.0.0.1", port, US) is None


def test_without_proc_nothing_can_be_told(
    sockets: ExitStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = listen(sockets, "127.0.0.1")
    monkeypatch.setattr(procfs, "PROC", tmp_path)
    assert listeners.owned("127.0.0.1", port, US) is None


def test_a_process_that_is_gone_owns_nothing(sockets: ExitStack) -> None:
    port = listen(sockets, "127.0.0.1")
    assert listeners.owned("127.0.0.1", port, [2**22 + 1]) is False
    assert listeners.owned("127.0.0.1", port, [2**22 + 1, *US]) is True
