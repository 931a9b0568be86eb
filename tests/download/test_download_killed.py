"""A process that is killed in the middle of a download, and one that goes on with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from muxi.download.downloader import Downloader
from tests.download.serving import QUICK, TRUST, running
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
CONTENT = bytes(range(256)) * 4000
FETCH = """
import sys, trio
from pathlib import Path
from muxi.config.download import DownloadConfig
from muxi.download import part, transfer
from muxi.download.downloader import Downloader

part.SYNC_EVERY = transfer.BUFFER = 1
trio.run(Downloader(DownloadConfig).fetch, sys.argv[1], Path(sys.argv[2]))
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
async def test_another_process_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    target, note = tmp_path / "a", tmp_path / "a.part.json"

    def synced() -> int:
        return int(json.loads(note.read_bytes())["synced"]) if note.exists() else 0

    async with running() as mirror:
        url = mirror.put("/a", CONTENT)
        mirror.script["/a"] = [mirror.stall(600_000)]
        start = partial(subprocess.Popen, [sys.executable, "-c", FETCH, url, str(target)], cwd=ROOT)
        process = await trio.to_thread.run_sync(start)
        try:
            await until(lambda: synced() == 600_000)
        finally:
            process.kill()
            await trio.to_thread.run_sync(process.wait)
        assert not target.exists()
        await Downloader(lambda: QUICK, trust=TRUST).fetch(url, target)
        assert [asked.start for asked in mirror.seen] == [0, 600_000]
    assert target.read_bytes() == CONTENT
    assert sorted(os.listdir(tmp_path)) == [".a.sha256", "a"]  # noqa: PTH208 - a test may block
