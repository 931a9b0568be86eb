from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import trio

from muxi.errors import FormationFailed
from muxi.formation.first_boot import wait_healthy
from muxi.formation.operation import Operation
from muxi.runtime.models import models_size
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxi.formation.run import Run

MB = 1_000_000


def boot(waits: Callable[[], Awaitable[None]], models: Path | None) -> Run:
    """Stand in for a process that is started: what is asked of it here, and no more."""
    plan = SimpleNamespace(prepared=SimpleNamespace(models=models))
    return cast("Run", SimpleNamespace(plan=plan, instance=SimpleNamespace(wait_healthy=waits)))


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is in the cache, at one look after the other; the last one stays."""
    seen: list[int] = []
    monkeypatch.setattr(
        "muxi.formation.first_boot.models_size", lambda _: seen.pop(0) if len(seen) > 1 else seen[0]
    )
    return seen


@pytest.mark.usefixtures("autojump_clock")
async def test_what_comes_since_the_start_is_told_and_nothing_else(sizes: list[int]) -> None:
    sizes += [700 * MB, 700 * MB, 700 * MB + 99, 712 * MB, 712 * MB, 900 * MB]
    operation, healthy = Operation("deploy", "bot"), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_healthy, boot(healthy.wait, Path("/cache")), operation)
        await until(lambda: len(operation.events) == 2)
        healthy.set()
    assert [event.data for event in operation.events] == [
        {"stage": "health_check", "message": f"The runtime fetches models: {much} MB so far"}
        for much in (12, 200)
    ]


async def test_a_failure_comes_as_it_is(sizes: list[int]) -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise FormationFailed("It died.")

    sizes.append(0)
    for models in (Path("/cache"), None):
        with pytest.raises(FormationFailed, match=r"It died\."):
            await wait_healthy(boot(fail, models), Operation("deploy", "bot"))


def test_the_size_is_of_models_wherever_they_are_and_unfinished_ones_too(tmp_path: Path) -> None:
    for name in (
        "models--a--b/blobs/x.incomplete",
        "hub/models--c--d/blobs/y",
        "pip/wheel",
        "hub/version.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    assert models_size(tmp_path) == 10
    assert models_size(tmp_path / "nowhere") == 0
