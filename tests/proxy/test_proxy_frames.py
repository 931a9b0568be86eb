"""Frames of a WebSocket are followed by the lengths in their headers, however the bytes are split."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from muxi.proxy.frames import FrameTracker, close_frame

OPCODES = (0x0, 0x1, 0x2, 0x9, 0xA)


def frame(opcode: int, size: int, *, masked: bool, fin: bool = True) -> bytes:
    """One frame, made by the letter of RFC 6455 5.2."""
    first = opcode | (0x80 if fin else 0)
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes((first, mask | size))
    elif size < 1 << 16:
        head = bytes((first, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, mask | 127)) + size.to_bytes(8, "big")
    return head + (secrets.token_bytes(4) if masked else b"") + b"\x81" * size


FRAMES = st.lists(
    st.builds(
        frame,
        st.sampled_from(OPCODES),
        st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 127, 65535, 65536, 70000])),
        masked=st.booleans(),
        fin=st.booleans(),
    ),
    max_size=6,
)


@given(FRAMES, st.data())
def test_every_boundary_is_seen_and_nothing_else_is_one(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames)
    ends, at = {0}, 0
    for one in frames:
        at += len(one)
        ends.add(at)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    tracker, at = FrameTracker(), 0
    for cut in [*cuts, len(stream)]:
        assert tracker.feed(stream[at:cut]) == cut - at
        at = cut
        assert tracker.between == (at in ends)
    assert not tracker.closed


@given(FRAMES, st.data())
def test_the_rest_of_a_frame_is_found(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames) + frame(1, 5, masked=True)
    cut = data.draw(st.integers(0, len(stream) - 1))
    tracker = FrameTracker()
    tracker.feed(stream[:cut])
    if tracker.between:
        return
    at = 0
    for one in [*frames, stream[-11:]]:
        at += len(one)
        if at > cut:
            break
    assert cut + tracker.feed(stream[cut:], one=True) == at
    assert tracker.between


@given(FRAMES)
def test_byte_by_byte_is_the_same(frames: list[bytes]) -> None:
    tracker, stream = FrameTracker(), b"".join(frames)[:2000]
    whole = FrameTracker()
    whole.feed(stream)
    for at in range(len(stream)):
        assert tracker.feed(stream[at : at + 1], one=True) == 1
    assert tracker.between == whole.between


@pytest.mark.parametrize("split", range(8))
def test_a_close_frame_is_noted_once_its_header_is_there(split: int) -> None:
    tracker, stream = FrameTracker(), frame(8, 2, masked=True)
    tracker.feed(stream[:split])
    assert tracker.closed == (split >= 6)
    tracker.feed(stream[split:])
    assert tracker.closed
    assert tracker.between


@pytest.mark.parametrize("mask", [b"", b"\x01\x02\x03\x04"])
def test_our_close_frame_is_a_good_one(mask: bytes) -> None:
    protocol = FrameProtocol(client=not mask, extensions=[])
    protocol.receive_bytes(close_frame(1001, mask))
    (received,) = protocol.received_frames()
    assert received.opcode is Opcode.CLOSE
    assert received.payload[0] == 1001
