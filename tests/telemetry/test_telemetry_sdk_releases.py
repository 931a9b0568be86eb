"""The newest releases of the SDKs: looked up where that is wanted, and silence where it is not."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxi.telemetry.sdk_releases import SDKS, SdkReleases, newest
from tests.telemetry.collector import Collector, collecting
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@asynccontextmanager
async def running(releases: SdkReleases) -> AsyncIterator[SdkReleases]:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(releases.run)
            yield releases
            nursery.cancel_scope.cancel()


async def test_all_sdks_are_looked_up_and_those_that_answer_are_known(collector: Collector) -> None:
    collector.texts = {"/muxi-python/.version": "1.2.3\n", "/muxi-go/.version": "v0.20260514.0"}
    told: list[dict[str, str]] = []
    releases = SdkReleases(
        lambda: collector.url + "/muxi-{sdk}/.version", {}, lambda known: told.append(dict(known))
    )
    async with running(releases):
        await until(lambda: bool(told))
    assert told == [{"python": "1.2.3", "go": "0.20260514.0"}]
    assert sorted(collector.asked) == sorted(f"/muxi-{sdk}/.version" for sdk in SDKS)
    assert len(SDKS) == 12
    assert releases.latest(b"python", b"1.0.0") == b"1.2.3"
    assert releases.latest(b"rust", b"0.9") == b"0.9"
    assert releases.latest(b"cli", b"0.9") == b"0.9"


@pytest.mark.parametrize(
    "text", ["", "<html>", "1" * 101, "1.2\r\nX-Evil: 1", "latest", "1.2 3", "\u0661"], ids=ascii
)
async def test_what_is_no_version_is_not_believed(text: str, collector: Collector) -> None:
    collector.texts = {"/python": text, "/go": "1.0"}
    releases = SdkReleases(lambda: collector.url + "/{sdk}", {}, lambda _: None)
    async with running(releases):
        await until(lambda: releases.known == {"go": "1.0"} and len(collector.asked) == 12)
        await trio.testing.wait_all_tasks_blocked()
    assert releases.known == {"go": "1.0"}


@pytest.mark.parametrize("variables", [{"MUXI_NO_UPDATE_CHECK": "1"}, {"DO_NOT_TRACK": "1"}])
async def test_switched_off_nothing_is_asked_and_nothing_told(
    variables: dict[str, str], collector: Collector
) -> None:
    releases = SdkReleases(lambda: collector.url + "/{sdk}", variables, lambda _: None)
    async with running(releases):
        await trio.testing.wait_all_tasks_blocked()
    assert collector.asked == []
    assert releases.latest(b"python", b"1.0") is None


async def test_switched_off_by_configuration(collector: Collector) -> None:
    releases = SdkReleases(lambda: None, {}, lambda _: None)
    async with running(releases):
        await trio.testing.wait_all_tasks_blocked()
    assert releases.latest(b"python", b"1.0") is None


async def test_without_a_network_an_sdk_is_told_its_own_version(capfd: pytest.CaptureFixture[str]) -> None:
    releases = SdkReleases(lambda: "http://127.0.0.1:1/{sdk}", {}, lambda _: None)
    with trio.fail_after(60):
        await releases._refresh()
    assert releases.latest(b"python", b"1.0") == b"1.0"
    assert "error" not in capfd.readouterr().err


def test_what_was_known_is_told_whatever_the_case_of_the_name() -> None:
    assert newest({"python": "2"}, b"Python", b"1") == b"2"
    assert newest({}, b"\xff", b"1") == b"1"
