"""WebSockets through the proxy, by the judgement of Autobahn|Testsuite.

A selection by default; `MUXI_AUTOBAHN=full` runs all 517 cases, half an hour's worth on a quiet machine
with two cores. Each case has a limit of time, a minute for many, so a busy machine fails some.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, TextMessage

from tests.proxy.autobahn import Autobahn, UnavailableError
from tests.proxy.echo import echo
from tests.proxy.house import open_house

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proxy.house import Wire

#: Framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, some large messages, compression.
SELECTION = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.1.*", "6.2.*", "6.3.*", "6.4.*", "7.*"]
SELECTION += ["9.1.1", "9.1.2", "9.2.1", "9.7.1", "10.*", "12.1.1", "13.1.1"]
#: All of the 517 cases. 9 has the tightest limits of time, so it runs alone; of the others as many side
#: by side as there are cores: with more they would be short of time, too.
TIMED = ["9.*", "10.*"]
PARTS = [[f"{number}.*" for number in range(1, 9)]]
PARTS += [
    [f"{number}.{part}.*" for part in parts] for number in (12, 13) for parts in ((1, 2), (3, 4), (5, 6, 7))
]
#: NON-STRICT: noticed late, as a server may; INFORMATIONAL: cases without a right answer.
FINE = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}


@pytest.fixture(scope="module")
def autobahn() -> Autobahn:
    try:
        return Autobahn()
    except UnavailableError as error:
        pytest.skip(str(error))


async def test_nothing_fails(autobahn: Autobahn, tmp_path: Path) -> None:
    full = os.environ.get("MUXI_AUTOBAHN") == "full"
    verdicts: dict[str, dict[str, str]] = {}

    cores = trio.CapacityLimiter(os.cpu_count() or 1)

    async def judge(number: int, cases: list[str]) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        async with cores:
            verdicts.update(
                await autobahn.fuzz(f"ws://127.0.0.1:{house.port}/api/bot/echo", cases, directory)
            )

    async with open_house() as house:
        await house.formation(echo)
        await judge(0, TIMED if full else SELECTION)
        async with trio.open_nursery() as nursery:
            for number, cases in enumerate(PARTS if full else [], 1):
                nursery.start_soon(judge, number, cases)
        assert house.listener.tally.contained == 0
    assert len(verdicts) == (517 if full else 121)
    bad = {
        case: verdict
        for case, verdict in verdicts.items()
        if verdict["behavior"] not in FINE or verdict["behaviorClose"] not in FINE
    }
    assert bad == {}
    assert sum(verdict["behavior"] == "OK" for verdict in verdicts.values()) > len(verdicts) * 0.9


async def test_it_notices_a_server_that_echoes_badly(autobahn: Autobahn, tmp_path: Path) -> None:
    """The judge is not blind, and it is the formation that it sees."""

    async def shout(wire: Wire) -> None:
        connection = WSConnection(ConnectionType.SERVER)
        connection.receive_data(await wire.head())
        await wire.send(connection.send(AcceptConnection()))
        await wire.receive()
        await wire.send(connection.send(TextMessage(data="HELLO")))
        await wire.rest()

    async with open_house() as house:
        await house.formation(shout)
        url = f"ws://127.0.0.1:{house.port}/api/bot/echo"
        verdicts = await autobahn.fuzz(url, ["1.1.2"], tmp_path)
    assert verdicts["1.1.2"]["behavior"] == "FAILED"
