from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.errors import NoPort
from muxi.registry.ports import PortPool, can_be_bound


def pool(*, start: int = 8000, end: int = 8003, taken: frozenset[int] = frozenset()) -> PortPool:
    return PortPool(start, end, lambda port: port not in taken)


def test_ports_are_given_from_the_lowest_and_the_end_is_excluded() -> None:
    ports = pool()
    assert [ports.allocate(key) for key in "abc"] == [8000, 8001, 8002]
    with pytest.raises(NoPort) as caught:
        ports.allocate("d")
    assert caught.value.status == 507
    assert caught.value.code == "PortAllocationError"


def test_the_same_key_gets_the_same_port() -> None:
    ports = pool()
    assert ports.allocate("a") == ports.allocate("a") == ports.get("a") == 8000
    assert ports.allocated == 1


def test_a_port_that_a_stranger_holds_is_passed_over() -> None:
    assert pool(taken=frozenset({8000})).allocate("a") == 8001


def test_a_port_to_be_avoided_is_exchanged() -> None:
    ports = pool()
    ports.allocate("a")
    assert ports.allocate("a", avoid={8000}) == 8001
    assert ports.allocate("b") == 8000


def test_releasing_twice_frees_nobody_elses_port() -> None:
    ports = pool()
    ports.allocate("a")
    ports.release("a")
    assert ports.allocate("b") == 8000
    ports.release("a")
    assert ports.get("b") == 8000
    assert ports.allocate("c") == 8001


def test_reserving_refuses_what_another_key_or_a_stranger_holds() -> None:
    ports = pool(taken=frozenset({8002}))
    assert ports.reserve("a", 8001)
    assert ports.reserve("a", 8001)
    assert not ports.reserve("b", 8001)
    assert not ports.reserve("b", 8002)
    assert ports.reserve("b", 9500), "a restored port may lie outside today's range"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef"))))
def test_no_two_keys_ever_share_a_port(steps: list[tuple[bool, str]]) -> None:
    ports = pool(end=8006)
    for take, key in steps:
        if take:
            ports.allocate(key)
        else:
            ports.release(key)
        held = [port for key in "abcdef" if (port := ports.get(key)) is not None]
        assert len(held) == len(set(held)) == ports.allocated


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "127.0.0.2"])
def test_a_listener_on_any_address_makes_a_port_not_free(address: str) -> None:
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not can_be_bound(port)
    assert can_be_bound(port)
