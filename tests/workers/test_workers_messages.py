from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.proxy.limits import Limits
from muxi.registry.routes import DEFAULT_POLICY, RoutePolicy
from muxi.workers.frames import LARGEST, FrameError, Frames, frame
from muxi.workers.messages import (
    Address,
    Configure,
    Drain,
    Drained,
    End,
    FromMain,
    FromWorker,
    Give,
    Publish,
    Ready,
    Report,
    Retire,
    Settings,
    Take,
    Taken,
    TlsFiles,
    Withdraw,
    encode,
    main_decoder,
    worker_decoder,
)

SETTINGS = Settings(
    version="1.2",
    processes=3,
    limits=Limits(idle_timeout=0, max_concurrent=7),
    trusted_proxies=("10.0.0.0/8",),
    proxy_protocol=True,
    tls=TlsFiles("/a", None, "1.3"),
)
POLICY = RoutePolicy(max_concurrent=1, rate=0.5, on_disconnect="continue", cors=False)


@pytest.mark.parametrize(
    "message",
    [
        Configure(SETTINGS),
        Publish(1, "bot", False, "running", Address(4, "::1", 8000), POLICY, False),
        Publish(2, "bot", True, "starting", None, DEFAULT_POLICY, True),
        Withdraw(3, "bot", False),
        End(4, 4),
        Take(5, "127.0.0.1"),
        Retire(),
        Drain(1.5, 0.25),
    ],
)
def test_what_the_main_process_says_is_read_as_it_was_said(message: FromMain) -> None:
    assert worker_decoder().decode(encode(message)) == message
    with pytest.raises(msgspec.MsgspecError):
        main_decoder().decode(encode(message))


@pytest.mark.parametrize(
    "message",
    [
        Ready(1000),
        Taken(7),
        Give(7, "::1", b"https", b"\x00\xffGET /"),
        Report(3, (1, 2), ((4, 1, 0, 0),), (("bot", False, (1, 0.5)),), (1, 2, 3), (7,)),
        Report(3),
        Drained(2),
    ],
)
def test_what_a_worker_says_is_read_as_it_was_said(message: FromWorker) -> None:
    assert main_decoder().decode(encode(message)) == message
    with pytest.raises(msgspec.MsgspecError):
        worker_decoder().decode(encode(message))


def test_a_limit_that_is_off_stays_off() -> None:
    found = worker_decoder().decode(encode(Configure(SETTINGS)))
    assert isinstance(found, Configure)
    assert found.settings.limits.idle_timeout == float("inf")


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 50), min_size=1))
def test_any_way_to_cut_the_bytes_gives_the_same_messages(contents: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frame(content) for content in contents)
    frames, found, turn = Frames(), list[bytes](), 0
    while data:
        size = cuts[turn % len(cuts)]
        found += frames.feed(data[:size])
        data, turn = data[size:], turn + 1
    assert found == contents


def test_a_message_that_is_too_large_is_refused_at_both_ends() -> None:
    with pytest.raises(FrameError):
        frame(b"x" * (LARGEST + 1))
    with pytest.raises(FrameError):
        Frames().feed((LARGEST + 1).to_bytes(4, "big"))
