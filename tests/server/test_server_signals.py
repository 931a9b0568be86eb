"""Signals before, on, and after the event loop. Each test has a process of its own to signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from muxi.server.signals import ALL, SignalBox

ROOT = Path(__file__).parent.parent.parent

BEFORE_THE_LOOP = """
import os, signal, trio
from muxi.server.signals import ALL, SignalBox
box, taken = SignalBox(), []
box.catch(*ALL)
for number in ALL:
    os.kill(os.getpid(), number)
async def main():
    async with trio.open_nursery() as nursery:
        def take(number):
            taken.append(number)
            if len(taken) == len(ALL):
                nursery.cancel_scope.cancel()
        await nursery.start(box.deliver, take)
        await trio.sleep_forever()
trio.run(main)
assert set(taken) == set(ALL), taken
print("all")
"""

OVER_AN_EXEC = """
import os, signal, sys, trio
from muxi.server.signals import ALL, SignalBox
box = SignalBox()
if len(sys.argv) == 1:
    box.catch(*ALL)
    os.kill(os.getpid(), signal.SIGTERM)           # noted, and nobody has taken it
    box.carry_over()
    os.kill(os.getpid(), signal.SIGHUP)            # comes while they wait
    os.execv(sys.executable, [sys.executable, "-c", open("/proc/self/cmdline").read().split("\\0")[2], "x"])
taken = []
box.catch(*ALL)
async def main():
    async with trio.open_nursery() as nursery:
        def take(number):
            taken.append(number)
            if len(taken) == 2:
                nursery.cancel_scope.cancel()
        await nursery.start(box.deliver, take)
        await trio.sleep_forever()
trio.run(main)
assert set(taken) == {signal.SIGTERM, signal.SIGHUP}, taken
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
print("all")
"""


@pytest.mark.parametrize("source", [BEFORE_THE_LOOP, OVER_AN_EXEC], ids=["before the loop", "over an exec"])
def test_no_signal_is_lost(source: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout) == (0, "all\n"), done.stderr


async def test_what_comes_while_nobody_takes_is_kept_for_the_next_to_take() -> None:
    box = SignalBox()
    before = {number: signal.getsignal(number) for number in ALL}
    box.catch(signal.SIGHUP, signal.SIGUSR2)
    try:
        taken: list[signal.Signals] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(box.deliver, taken.append)
            box.note(signal.SIGUSR2)
            nursery.cancel_scope.cancel()
        assert taken == []
        os.kill(os.getpid(), signal.SIGHUP)
        async with trio.open_nursery() as nursery:
            await nursery.start(box.deliver, taken.append)
            with trio.fail_after(30):
                while len(taken) < 2:  # noqa: ASYNC110 - that is what it is told by
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        assert taken == [signal.SIGUSR2, signal.SIGHUP]
    finally:
        box.release()
    assert {number: signal.getsignal(number) for number in ALL} == before
