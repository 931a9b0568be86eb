from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxi.runtime.catalogue import FRESH_SECONDS, LOOK_SECONDS, Runtimes
from muxi.runtime.pin import Pin
from muxi.runtime.runtime import Presence
from tests.api.harness import Api, make_api, view

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Prepared, Request

PIN = Pin(runtime="muxi-python", version="1.20260928.0", artifact="e5f1", reason="the first that is present")


class Known:
    """A runtime of which only its presence is asked."""

    def __init__(self, presence: Presence, pause: float = 0.0) -> None:
        self.name = presence.name
        self.looks = 0
        self.pause = pause
        self._presence = presence

    async def presence(self) -> Presence:
        self.looks += 1
        await trio.sleep(self.pause)
        return self._presence

    def check(self, program: Program, release_dir: Path) -> None:
        raise NotImplementedError

    async def prepare(self, request: Request) -> Prepared:
        raise NotImplementedError


NATIVE = Presence("native", available=True)
DOCKER = Presence("docker", available=False, problem="it does not answer", cure="Start it.")


def api_with(directory: Path, *known: Known, preferred: str = "auto") -> Api:
    api = make_api(directory, view("my-bot", runtime=PIN), view("a-bot", "stopped"))
    api.facilities.runtimes = Runtimes(known, lambda: preferred)
    return api


async def test_runtimes_are_told_with_what_was_chosen_for_each_formation(tmp_path: Path) -> None:
    api = api_with(tmp_path, Known(NATIVE), Known(DOCKER), preferred="docker")
    answer = (await api.get("/rpc/runtimes")).data
    assert answer["preferred"] == "docker"
    assert [one["name"] for one in answer["runtimes"]] == ["native", "docker"]
    assert answer["runtimes"][1] == {
        "name": "docker",
        "available": False,
        "preferred": True,
        "version": "",
        "where": "",
        "problem": "it does not answer",
        "cure": "Start it.",
    }
    assert answer["formations"] == [
        {
            "id": "my-bot",
            "runtime": {
                "name": "muxi-python",
                "version": "1.20260928.0",
                "artifact": "e5f1",
                "reason": "the first that is present",
            },
        },
        {"id": "a-bot", "runtime": None},
    ]


async def test_runtimes_are_not_told_to_everybody(tmp_path: Path) -> None:
    api = api_with(tmp_path, Known(NATIVE))
    assert (await api.call("GET", "/rpc/runtimes", signed=False)).status == 401


async def test_each_formation_shows_its_runtime(tmp_path: Path) -> None:
    api = api_with(tmp_path, Known(NATIVE))
    formations = (await api.get("/rpc/formations")).data["formations"]
    assert [one["runtime"] and one["runtime"]["name"] for one in formations] == [None, "muxi-python"]
    assert (await api.get("/rpc/formations/my-bot")).data["runtime"]["version"] == "1.20260928.0"


async def test_status_shows_runtimes_without_looking_each_time(tmp_path: Path) -> None:
    known = Known(NATIVE)
    api = api_with(tmp_path, known)
    await api.get("/rpc/server/status")
    status = (await api.get("/rpc/server/status")).data
    assert [one["name"] for one in status["runtimes"]] == ["native"]
    assert status["rce"] == {}
    assert known.looks == 1


async def test_a_look_is_taken_again_once_the_last_one_is_old(autojump_clock: trio.abc.Clock) -> None:
    known = Known(NATIVE)
    runtimes = Runtimes((known,))
    await runtimes.seen()
    await trio.sleep(FRESH_SECONDS / 2)
    assert await runtimes.seen() == {"native": NATIVE}
    assert known.looks == 1
    await trio.sleep(FRESH_SECONDS)
    await runtimes.seen()
    assert known.looks == 2


async def test_a_look_that_takes_long_keeps_nobody_waiting(autojump_clock: trio.abc.Clock) -> None:
    known = Known(NATIVE)
    runtimes = Runtimes((known,))
    await runtimes.seen()
    known.pause = 100 * LOOK_SECONDS
    await trio.sleep(2 * FRESH_SECONDS)
    before = trio.current_time()
    assert await runtimes.seen() == {"native": NATIVE}, "what was known"
    assert trio.current_time() - before <= LOOK_SECONDS
