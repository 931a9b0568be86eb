from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from muxi.locks import held

ROOT = Path(__file__).parent.parent
HOLD = """
import sys, trio
from pathlib import Path
from muxi.locks import held

async def main():
    async with held(Path(sys.argv[1])):
        print("held", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def hold(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, cwd=ROOT)


async def test_one_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    inside, most = 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with held(tmp_path / "lock"):
            inside += 1
            most = max(most, inside)
            await trio.lowlevel.checkpoint()
            inside -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(work)
    assert most == 1
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - what a test looks at may block


async def test_waiting_can_be_cancelled(tmp_path: Path) -> None:
    async with held(tmp_path / "lock"):
        with trio.move_on_after(0.05) as scope:
            async with held(tmp_path / "lock"):
                pytest.fail("two hold it")
        assert scope.cancelled_caught
    async with held(tmp_path / "lock"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
async def test_it_ends_with_its_holder(tmp_path: Path) -> None:
    process = await trio.to_thread.run_sync(hold, tmp_path / "lock")
    try:
        assert process.stdout is not None
        assert await trio.to_thread.run_sync(process.stdout.readline) == b"held\n"
        with trio.move_on_after(0.3) as scope:
            async with held(tmp_path / "lock"):
                pytest.fail("two hold it")
        assert scope.cancelled_caught
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
    with trio.fail_after(30):
        async with held(tmp_path / "lock"):
            pass


async def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        async with held(tmp_path / "nowhere" / "lock"):
            pass
