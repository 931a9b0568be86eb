"""Sockets and the lock that come from another program, or from the service manager."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from muxi.config.model import Config, Paths, ServerConfig
from muxi.errors import OperatorError
from muxi.registry.lock import exclusive
from muxi.server.inheritance import FIRST_FD, HANDOVER, Handover, Inheritance, inherit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Give a socket that listens; whoever adopts its descriptor closes it."""
    sock = socket.create_server(("127.0.0.1", 0))
    yield sock
    try:
        sock.close()
    except OSError:
        sock.detach()


def handover(*fds: int, lock: int = 0, port: int = 7890, **more: object) -> Handover:
    found = Handover(
        pid=os.getpid(),
        sockets=fds,
        lock=lock,
        host="127.0.0.1",
        port=port,
        activated=False,
        generation=1,
        first_started_at=1.0,
        serial=3,
    )
    return msgspec.structs.replace(found, **more)


def written(left: Handover) -> dict[str, str]:
    return {HANDOVER: msgspec.json.encode(left).decode(), "PATH": "/bin"}


def configured(tmp_path: Path, port: int) -> Config:
    paths = Paths(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path / "config.yaml")
    return replace(Config(paths=paths), server=ServerConfig(host="127.0.0.1", port=port))


def test_a_handover_is_taken_out_of_the_environment() -> None:
    environment = written(handover(5, 6, lock=7))
    found = inherit(environment)
    assert environment == {"PATH": "/bin"}
    assert (found.fds, found.lock, found.activated) == ((5, 6), 7, False)


@pytest.mark.parametrize("left", ["", "nonsense", '{"pid": 1}'])
def test_what_is_no_handover_is_none(left: str) -> None:
    assert inherit({HANDOVER: left}) == Inheritance()


def test_another_process_s_handover_is_not_ours() -> None:
    environment = written(handover(5, pid=os.getpid() + 1))
    assert inherit(environment) == Inheritance()
    assert HANDOVER not in environment


def test_sockets_of_a_service_manager() -> None:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:https"}
    found = inherit(environment)
    assert environment == {}
    assert (found.fds, found.names, found.activated) == ((FIRST_FD, FIRST_FD + 1), ("http", "https"), True)


@pytest.mark.parametrize(
    "environment",
    [
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"},
    ],
)
def test_sockets_that_are_not_for_us(environment: dict[str, str]) -> None:
    assert inherit(environment) == Inheritance()
    assert environment == {}


def test_an_inherited_socket_is_served_on(tmp_path: Path, listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    listening.set_inheritable(True)
    found = inherit(written(handover(listening.detach(), port=0)))
    (sock,) = found.listen(configured(tmp_path, 0))
    with sock:
        assert sock.getsockname()[1] == port
        assert not sock.get_inheritable()
        assert not sock.getblocking()
        socket.create_connection(("127.0.0.1", port)).close()


def test_another_port_in_the_configuration_is_opened(tmp_path: Path, listening: socket.socket) -> None:
    old = listening.getsockname()[1]
    found = inherit(written(handover(listening.detach(), port=old)))
    (sock,) = found.listen(configured(tmp_path, 0))
    with sock:
        assert sock.getsockname()[1] != old
        assert found.address == ("127.0.0.1", 0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", old))


def test_when_it_can_t_be_opened_the_old_one_stays(tmp_path: Path, listening: socket.socket) -> None:
    old = listening.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = inherit(written(handover(listening.detach(), port=old)))
        (sock,) = found.listen(configured(tmp_path, taken.getsockname()[1]))
        with sock:
            assert sock.getsockname()[1] == old
            assert found.address == ("127.0.0.1", old)


def test_a_manager_s_socket_is_served_on_whatever_the_configuration_says(
    tmp_path: Path, listening: socket.socket
) -> None:
    found = Inheritance(None, (listening.detach(),), activated=True)
    (sock,) = found.listen(configured(tmp_path, 1))
    sock.close()


def test_what_does_not_listen_is_refused(tmp_path: Path) -> None:
    with socket.socket() as sock, pytest.raises(OperatorError, match="not a TCP socket that listens"):
        Inheritance(None, (sock.fileno(),), activated=True).listen(configured(tmp_path, 0))
    with (tmp_path / "file").open("wb") as file, pytest.raises(OperatorError):
        Inheritance(None, (file.fileno(),), activated=True).listen(configured(tmp_path, 0))


def test_a_lock_goes_over_with_its_descriptor(tmp_path: Path) -> None:
    with exclusive(tmp_path) as first:
        passed = os.dup(first)
    with exclusive(tmp_path, passed) as lock:
        assert lock == passed
        assert not os.get_inheritable(lock)
        with pytest.raises(OperatorError, match=f"pid {os.getpid()}"), exclusive(tmp_path):
            pytest.fail("two holders")


def test_a_descriptor_of_another_directory_s_lock_is_let_go(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with exclusive(tmp_path / "other") as first:
        passed = os.dup(first)
    with exclusive(tmp_path, passed) as lock:
        # It is closed: the number may have been given to the new one.
        assert os.path.samestat(os.fstat(lock), (tmp_path / "server.lock").stat())
        with exclusive(tmp_path / "other"):
            pass
