"""A small supervisor: keeps one process that leaves 200 orphans behind, and tells what became of them.

It runs as a process of its own, because being a subreaper is for a whole process; as the first
one of a PID namespace too. It prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from muxi.process import procfs
from muxi.process.confinement import Confiner
from muxi.process.reaper import Reaper
from muxi.process.spawn import spawn
from muxi.process.spec import ProcessSpec
from muxi.process.subreaper import become_subreaper
from muxi.process.usage import parse_stat

if TYPE_CHECKING:
    from collections.abc import Callable

LEAVES_ORPHANS = """
import os, sys
for number in range(200):
    if os.fork() == 0:
        if number % 2: os.setsid()
        if os.fork() == 0:
            if number % 10 == 0: os.execv('/bin/true', ['true'])
            os._exit(number % 7)
        os._exit(0)
    os.wait()
print('left', flush=True)
import time
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
sys.exit(7)
"""


def zombies() -> list[int]:
    contents = {pid: procfs.raw_stat(pid) for pid in procfs.pids()}
    samples = [parse_stat(pid, content) for pid, content in contents.items() if content]
    return [one.pid for one in samples if one.state == "Z" and one.parent == os.getpid()]


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.01)


async def main(directory: Path) -> None:
    told: dict[str, object] = {"pid": os.getpid(), "subreaper": become_subreaper()}
    out = directory / "out.log"
    spec = ProcessSpec(
        process_id="parent",
        argv=(sys.executable, "-I", "-S", "-c", LEAVES_ORPHANS, str(directory / "go")),
        cwd=directory,
        host="127.0.0.1",
        port=1,
        stdout=out,
        stderr=directory / "err.log",
        env={},
    )
    confiner = Confiner()
    async with trio.open_nursery() as nursery:
        await nursery.start(Reaper(confiner).run)
        child = await spawn(spec, confiner=confiner)
        await until(lambda: "left" in out.read_text())
        await until(lambda: not zombies())
        told["zombies after"] = len(zombies())
        (directory / "go").touch()
        with trio.fail_after(30):
            await child.wait()
        # When the reaper has collected one that ended after it, it has left the supervised one alone.
        later = await trio.lowlevel.open_process(["/bin/true"], start_new_session=True)
        await until(lambda: zombies() == [child.pid] and procfs.read_stat(later.pid) is None)
        told["status"] = (await child.end(expected=False)).status
        other = await trio.run_process([sys.executable, "-c", "exit(5)"], check=False)
        told["other part"] = other.returncode
        nursery.cancel_scope.cancel()
    print(json.dumps(told))


trio.run(main, Path(sys.argv[1]))
