"""gunicorn's collection of good and bad requests, sent through the proxy.

Each sample is sent as it is (most are then the management app's), and with its path below that of a
formation of its own, which records what reaches it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

from muxi.proxy.limits import Limits
from tests.proxy.corpus.samples import Sample, load_samples, with_host
from tests.proxy.corpus.verdicts import ACCEPTED, REFUSED
from tests.proxy.house import open_house
from tests.proxy.recording import Reader, Recorder, parse_all
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.proxy.house import House

#: A sample may lack its end; then the deadlines end its connection.
LIMITS = Limits(head_timeout=1, idle_timeout=1, body_idle_timeout=1, sweep_interval=0.05)
#: Sent after a good request: its answer shows that the connection is still in step.
PING = b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
_STATUS = re.compile(rb"^HTTP/1\.1 ([0-9]{3}) ", re.MULTILINE)


class Outcome(NamedTuple):
    """What a client got, to the end of its connection, and what the formation saw of it."""

    statuses: list[int]
    recorder: Recorder


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return load_samples()


async def send(house: House, name: str, data: bytes, pieces: Iterable[bytes]) -> Outcome:
    recorder = Recorder()
    await house.formation(recorder, name)
    wire = await house.connect()
    try:
        for piece in pieces:
            await wire.send(piece)
        answers = await wire.rest()
    except trio.BrokenResourceError:
        answers = b""  # Refused while we were still sending.
    return Outcome([int(status) for status in _STATUS.findall(answers)], recorder)


def placed(sample: Sample, name: str) -> bytes | None:
    """The sample, made a request for the formation of this name."""
    data = sample.below(b"/api/" + name.encode())
    return data and with_host(data)


async def send_all(samples: list[Sample], *, split: bool = False, after: bytes = b"") -> dict[str, Outcome]:
    """Send those that have a path to a formation each, at the same time."""
    outcomes: dict[str, Outcome] = {}

    async def one(house: House, sample: Sample) -> None:
        name = f"s-{sample.name}"
        data = placed(sample, name)
        if data is not None:
            data += after
            pieces = [data[i : i + 1] for i in range(len(data))] if split else [data]
            outcomes[sample.name] = await send(house, name, data, pieces)

    async with open_house(limits=LIMITS) as house:
        async with trio.open_nursery() as nursery:
            for sample in samples:
                nursery.start_soon(one, house, sample)
        await check_alive(house)
    return outcomes


async def check_alive(house: House) -> None:
    assert (await (await house.connect()).ask(PING)).body == b"pong"
    assert house.listener.tally.contained == 0
    for client in house.clients:
        client.leave()
    await until(lambda: house.listener.open_connections == 0)


async def test_as_they_are_they_end_no_process_and_reach_no_formation(samples: list[Sample]) -> None:
    async with open_house(limits=LIMITS) as house:
        outcomes: dict[str, Outcome] = {}

        async def one(sample: Sample) -> None:
            outcomes[sample.name] = await send(house, "bot", sample.data, [sample.data])

        async with trio.open_nursery() as nursery:
            for sample in samples:
                nursery.start_soon(one, sample)
        await check_alive(house)
    assert not any(outcome.recorder.raw for outcome in outcomes.values())
    assert not [name for name, outcome in outcomes.items() if not outcome.statuses]


@pytest.mark.parametrize("split", [False, True], ids=["whole", "in single bytes"])
async def test_none_of_the_invalid_set_reaches_a_formation(samples: list[Sample], split: bool) -> None:
    invalid = [sample for sample in samples if not sample.valid and (not split or len(sample.data) < 4096)]
    outcomes = await send_all(invalid, split=split)
    assert len(outcomes) > 50
    reached = {name for name, outcome in outcomes.items() if outcome.recorder.requests}
    assert reached <= set(ACCEPTED)
    for name in outcomes.keys() - ACCEPTED.keys():
        outcome = outcomes[name]
        assert [status for status in outcome.statuses if status < 400] == [], name
        if not split:
            # One that is bad in its body, and came with it, is refused before anybody is asked.
            assert "missing" in name or not outcome.recorder.raw, name


async def test_every_exception_is_one(samples: list[Sample]) -> None:
    outcomes = await send_all([sample for sample in samples if sample.name in ACCEPTED and not sample.valid])
    assert outcomes.keys() == ACCEPTED.keys()
    reached = {name for name, outcome in outcomes.items() if outcome.recorder.raw}
    assert reached == ACCEPTED.keys()
    unparsed = {name for name, outcome in outcomes.items() if outcome.recorder.errors}
    assert not unparsed


async def test_the_valid_set_is_answered_and_reaches_formations_in_good_order(samples: list[Sample]) -> None:
    valid = [sample for sample in samples if sample.valid and sample.name not in REFUSED]
    outcomes = await send_all(valid, after=PING)
    assert len(outcomes) > 40
    for sample in valid:
        if sample.name not in outcomes:
            continue
        statuses, recorder = outcomes[sample.name]
        assert statuses[:1] == [200], sample.name
        assert recorder.errors == [], sample.name
        assert len(recorder.requests) == 1, sample.name
        expected = parse_all(placed(sample, f"s-{sample.name}") or b"")
        if expected is not None:
            ours, theirs = recorder.requests[0], expected[0]
            assert (ours.method, ours.body) == (theirs.method, theirs.body), sample.name
            assert theirs.target.endswith(ours.target), sample.name


async def test_what_of_the_valid_set_is_refused_is_refused_for_its_reason(samples: list[Sample]) -> None:
    refused = [sample for sample in samples if sample.valid and sample.name in REFUSED]
    assert len(refused) == len(REFUSED)
    statuses: dict[str, list[int]] = {}

    async def one(house: House, sample: Sample) -> None:
        name = f"s-{sample.name}"
        data = placed(sample, name) or sample.data
        outcome = await send(house, name, data, [data])
        assert not outcome.recorder.requests
        statuses[sample.name] = outcome.statuses

    async with open_house(limits=LIMITS) as house:
        async with trio.open_nursery() as nursery:
            for sample in refused:
                nursery.start_soon(one, house, sample)
        await check_alive(house)
    assert statuses == {name: [refusal.status] for name, refusal in REFUSED.items()}


def test_samples_are_decoded_as_written() -> None:
    from tests.proxy.corpus.samples import decode

    assert decode(b"GET / HTTP/1.1\\r\\n\nX:\\t\\x7f\\0\\n\\r\\n\n") == b"GET / HTTP/1.1\r\nX:\t\x7f\0\n\r\n"
    reader = Reader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert reader.read() is not None
