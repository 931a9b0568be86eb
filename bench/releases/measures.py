"""What is measured of releases: one large deploy, updates under load, and many deploys at once."""

from __future__ import annotations

import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from bench.figures import percentile
from bench.peers.peer import Door
from bench.releases.bundles import large, small
from bench.releases.load import Seen, load
from bench.usage import forget_peak, peak_resident, resident

if TYPE_CHECKING:
    from bench.figures import Sample
    from bench.ours import Management

FILES, SIZE = 5_000, 100 << 20
QUIET = 5.0
MIB = 1 << 20


def deploy_large(server: Management, pid: int, round_: int) -> Sample:
    """Deploy 100 MB in 5,000 files, beside what `tar` takes to unpack the same bundle."""
    name = f"large-{round_}"
    bundle = large(name, FILES, SIZE)
    before = resident([pid])
    forget_peak([pid])
    began = time.perf_counter()
    server.send_bundle("POST", "/rpc/formations", bundle, name)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "tar": _untar(bundle),
        "memory": (peak_resident([pid]) - before) / MIB,
    }


def update_under_load(server: Management, rate: float, streams: int, turns: int) -> Sample:
    """Update and roll back again and again under load, beside the same load in quiet."""
    name = "updated"
    server.send_bundle("POST", "/rpc/formations", small(name, "0"), name)
    return trio.run(partial(_turns, server, name, rate=rate, streams=streams, turns=turns))


def deploy_many(server: Management, count: int) -> Sample:
    """Deploy so many formations at once."""
    bundles = {f"many-{number}": small(f"many-{number}", "1") for number in range(count)}
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(
            pool.map(
                lambda one: server.send_bundle("POST", "/rpc/formations", one[1], one[0]), bundles.items()
            )
        )
    return {"seconds": time.perf_counter() - began}


def _untar(bundle: bytes) -> float:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bundle.tar.gz"
        path.write_bytes(bundle)
        began = time.perf_counter()
        subprocess.run(("tar", "xzf", str(path), "-C", directory), check=True)
        return time.perf_counter() - began


async def _turns(server: Management, name: str, *, rate: float, streams: int, turns: int) -> Sample:
    door, seen = Door(server.port, f"/api/{name}"), Seen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(load, door, seen, rate=rate, streams=streams))
        await trio.sleep(QUIET)
        seen.times.clear()
        start = time.perf_counter()
        await trio.sleep(QUIET)
        quiet = seen.between(start, time.perf_counter())
        switched, took = [], []
        for turn in range(turns):
            for order in (partial(_update, server, name, turn), partial(_roll_back, server, name)):
                start = time.perf_counter()
                await trio.to_thread.run_sync(order)
                end = time.perf_counter()
                switched += seen.between(start, end)
                took.append(end - start)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return {
        "requests": len(seen.times),
        "lost": len(seen.lost),
        "streams": seen.streams,
        "cut": len(seen.cut),
        "quiet": percentile(quiet, 0.99) * 1e3,
        "switching": percentile(switched, 0.99) * 1e3,
        "each": percentile(took, 0.5),
    }


def _update(server: Management, name: str, turn: int) -> None:
    server.send_bundle("PUT", f"/rpc/formations/{name}", small(name, f"new-{turn}"), name)


def _roll_back(server: Management, name: str) -> None:
    server.call("POST", f"/rpc/formations/{name}/rollback")
