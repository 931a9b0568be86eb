"""Reports to a collector: what is in them, that none is lost or sent twice, and that a no is a no."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from muxi.telemetry.machine import facts, hashed
from muxi.telemetry.reporter import COLLECTOR, Reporter
from muxi.telemetry.totals import Totals
from tests.telemetry.collector import Collector, collecting
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

HOURS = 3600.0


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


class Place:
    """A reporter, what it counts, and the home of its user."""

    def __init__(self, home: Path, collector: Collector, **environment: str) -> None:
        self.home = home
        self.collector = collector
        self.totals = Totals()
        self.configured = True
        self.environment = {"TELEMETRY_URL": f"{collector.url}/v1/telemetry", **environment}

    @property
    def file(self) -> Path:
        return self.home / ".muxi" / "config.yaml"

    def prefer(self, text: str) -> None:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(text)

    def reporter(self, interval: float = HOURS, retry: float = HOURS) -> Reporter:
        return Reporter(
            self.totals,
            lambda: facts(uptime=7300.0, active=2, ports=1000, ports_allocated=3),
            lambda: self.configured,
            self.environment,
            self.home,
            interval=interval,
            retry=retry,
        )


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no report be late: it is what is in them that counts here."""
    monkeypatch.setattr("muxi.telemetry.reporter.CLOSE_SECONDS", 30.0)
    monkeypatch.setattr("muxi.telemetry.reporter.SEND_SECONDS", 30.0)


@pytest.fixture
def place(tmp_path: Path, collector: Collector) -> Place:
    return Place(tmp_path, collector)


@asynccontextmanager
async def running(reporter: Reporter) -> AsyncIterator[Reporter]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reporter.run)
            yield reporter
            nursery.cancel_scope.cancel()


async def last_report(place: Place) -> None:
    async with running(place.reporter()) as reporter:
        await reporter.close()


async def test_the_last_report_has_the_shape_that_the_collector_knows(place: Place) -> None:
    place.totals.add("server.starts")
    place.totals.add("formations.deployed", 2)
    place.totals.add("requests.total", 10)
    place.totals.add("requests.answered", 4)
    place.totals.add("requests.seconds", 0.5)
    place.totals.add("usage.GET /rpc/formations", 3)
    await last_report(place)
    [report] = place.collector.reports
    assert report.keys() == {"module", "machine_id", "ts", "schema_version", "payload"}
    assert (report["module"], report["schema_version"]) == ("server", 1)
    assert report["ts"].endswith("Z")
    payload = report["payload"]
    assert {name: set(part) for name, part in payload.items()} == {
        "server": {"version", "runtime", "uptime_hours", "starts"},
        "system": {"os", "arch", "cpu_cores", "ram_gb"},
        "formations": {"active", "deployed", "deleted"},
        "deployments": {"successful", "failed", "updates", "rollbacks"},
        "health": {"auto_restarts", "crashes", "health_check_failures"},
        "requests": {"total", "errors_4xx", "errors_5xx", "avg_latency_ms"},
        "usage": {"GET /rpc/formations"},
        "resources": {"port_pool_size", "ports_allocated"},
    }
    assert payload["server"]["uptime_hours"] == 2
    assert payload["server"]["starts"] == 1
    assert payload["formations"] == {"active": 2, "deployed": 2, "deleted": 0}
    assert payload["requests"] == {"total": 10, "errors_4xx": 0, "errors_5xx": 0, "avg_latency_ms": 125}
    assert payload["resources"] == {"port_pool_size": 1000, "ports_allocated": 3}
    [headers] = place.collector.headers
    assert headers["content-type"] == "application/json"


async def test_each_report_has_what_is_new_and_nothing_twice(place: Place) -> None:
    place.totals.add("health.crashes", 2)
    async with running(place.reporter(interval=0.001)) as reporter:
        await until(lambda: len(place.collector.reports) > 1)
        place.totals.add("health.crashes", 5)
        await until(lambda: sum(p["health"]["crashes"] for p in place.collector.payloads()) == 7)
        await reporter.close()
    crashes = [payload["health"]["crashes"] for payload in place.collector.payloads()]
    assert sorted(filter(None, crashes)) == [2, 5]


async def test_what_is_counted_while_a_report_is_on_its_way_is_in_the_next_one(place: Place) -> None:
    place.collector.hold.clear()
    place.totals.add("health.crashes")
    async with running(place.reporter(interval=0.001)) as reporter:
        await until(lambda: bool(place.collector.reports))
        place.totals.add("health.crashes", 3)
        place.collector.hold.set()
        await until(lambda: sum(p["health"]["crashes"] for p in place.collector.payloads()) == 4)
        await reporter.close()
    assert sum(payload["health"]["crashes"] for payload in place.collector.payloads()) == 4


async def test_a_report_that_fails_is_sent_once_more_with_what_came_since(place: Place) -> None:
    place.collector.statuses.extend([503])
    place.totals.add("health.crashes")
    async with running(place.reporter(interval=0.001, retry=0.001)):
        await until(lambda: len(place.collector.reports) > 1)
    first, second = place.collector.payloads()[:2]
    assert first["health"]["crashes"] == second["health"]["crashes"] == 1


async def test_what_did_not_get_through_stays_for_the_next_hour(place: Place) -> None:
    place.collector.statuses.extend([500, 308, 404])
    place.totals.add("health.crashes")
    async with running(place.reporter(interval=0.001, retry=0.001)) as reporter:
        await until(lambda: len(place.collector.reports) > 3)
        await reporter.close()
    crashes = [payload["health"]["crashes"] for payload in place.collector.payloads()]
    assert crashes[:4] == [1, 1, 1, 1]
    assert not any(crashes[4:])


async def test_without_a_collector_nothing_happens(place: Place) -> None:
    place.environment["TELEMETRY_URL"] = "http://127.0.0.1:1/"
    await last_report(place)
    place.environment["TELEMETRY_URL"] = "no address at all"
    await last_report(place)


@pytest.mark.parametrize(
    ("name", "value"), [("HTTP_PROXY", "nonsense://x"), ("ALL_PROXY", "::"), ("SSL_CERT_FILE", "/nowhere")]
)
async def test_an_environment_that_is_wrong_stops_nothing(
    name: str, value: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "")
    async with running(place.reporter()) as reporter:
        await reporter.close()


async def test_a_collector_that_hangs_delays_the_end_by_a_second_at_most(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muxi.telemetry.reporter.CLOSE_SECONDS", 0.05)
    monkeypatch.setattr("muxi.telemetry.reporter.SEND_SECONDS", 3600.0)
    place.collector.hold.clear()
    async with running(place.reporter()) as reporter:
        await reporter.close()
        assert not reporter._closed.is_set()


async def test_an_end_during_a_report_waits_for_that_one_and_sends_the_rest(place: Place) -> None:
    place.collector.hold.clear()
    place.totals.add("health.crashes")
    async with running(place.reporter(interval=0.001)) as reporter, trio.open_nursery() as nursery:
        await until(lambda: bool(place.collector.reports))
        place.totals.add("health.crashes", 2)
        nursery.start_soon(reporter.close)
        await trio.testing.wait_all_tasks_blocked()
        place.collector.hold.set()
    assert [payload["health"]["crashes"] for payload in place.collector.payloads()] == [1, 2]


OBJECTIONS: dict[str, tuple[Mapping[str, str], bool, str | None]] = {
    "variable": ({"MUXI_TELEMETRY": "0"}, True, None),
    "variable in words": ({"MUXI_TELEMETRY": "False"}, True, None),
    "do not track": ({"DO_NOT_TRACK": "1"}, True, None),
    "do not track in words": ({"DO_NOT_TRACK": "true"}, True, None),
    "server": ({}, False, None),
    "user": ({}, True, "telemetry: false\n"),
    "user in words": ({}, True, "telemetry: off\n"),
    "unreadable": ({}, True, "telemetry: [\n"),
    "no list": ({}, True, "- telemetry\n"),
    "odd": ({}, True, "telemetry: perhaps\n"),
}


@pytest.mark.parametrize("case", OBJECTIONS)
async def test_an_objection_means_no_packet_and_no_file(case: str, place: Place) -> None:
    variables, configured, preferences = OBJECTIONS[case]
    place.environment.update(variables)
    place.configured = configured
    if preferences is not None:
        place.prefer(preferences)
    before = {path: path.read_bytes() for path in place.home.rglob("*") if path.is_file()}
    async with running(place.reporter(interval=0.001, retry=0.001)) as reporter:
        for _ in range(5):
            await trio.testing.wait_all_tasks_blocked()
        standing = await reporter.standing()
        await reporter.close()
    assert place.collector.reports == []
    assert {path: path.read_bytes() for path in place.home.rglob("*") if path.is_file()} == before
    assert (standing.enabled, bool(standing.reason)) == (False, True)


@pytest.mark.parametrize("value", ["1", "true", "", "2"])
async def test_other_values_are_no_objection(value: str, place: Place) -> None:
    place.environment["MUXI_TELEMETRY"] = value
    place.environment["DO_NOT_TRACK"] = "0"
    place.prefer("telemetry: true\n")
    await last_report(place)
    assert len(place.collector.reports) == 1


async def test_what_was_counted_under_an_objection_is_never_told(place: Place) -> None:
    place.configured = False
    place.totals.add("health.crashes", 9)
    async with running(place.reporter(interval=0.001)) as reporter:
        # The first look at the objection has been when there is one in the next hour.
        await until(lambda: not_told(reporter))
        place.configured = True
        await until(lambda: bool(place.collector.reports))  # nobody objects any more
        place.totals.add("health.crashes")
        await reporter.close()
    assert sum(payload["health"]["crashes"] for payload in place.collector.payloads()) == 1


def not_told(reporter: Reporter) -> bool:
    return reporter._reported.get("health.crashes") == 9


async def test_the_machine_keeps_its_name_in_the_users_file(place: Place) -> None:
    place.prefer("# mine\ntelemetry: true\nemail_optin: false  # no\n")
    await last_report(place)
    await last_report(place)
    first, second = place.collector.reports
    assert first["machine_id"] == second["machine_id"]
    text = place.file.read_text()
    assert f"machine_id: {first['machine_id']}\n" in text
    assert text.startswith("# mine\n")
    assert text.endswith("telemetry: true\nemail_optin: false  # no\n")


async def test_a_name_that_another_program_has_given_is_kept(place: Place) -> None:
    place.prefer("machine_id: abc-def\n")
    await last_report(place)
    assert place.collector.reports[0]["machine_id"] == "abc-def"


async def test_a_home_that_can_not_be_written_stops_no_report(place: Place) -> None:
    (place.home / ".muxi").write_text("a file where a directory should be")
    await last_report(place)
    # What can't be read counts as a no, and a path below a file can't.
    assert place.collector.reports == []
    (place.home / ".muxi").unlink()
    (place.home / ".muxi").mkdir()
    place.file.mkdir()
    await last_report(place)
    assert place.collector.reports == []


async def test_what_is_shown_is_what_is_sent(place: Place) -> None:
    place.totals.add("deployments.failed", 4)
    async with running(place.reporter()) as reporter:
        shown = await reporter.standing()
        assert not place.file.exists()
        await reporter.close()
    [sent] = place.collector.reports
    assert without_time(shown.report) == without_time(sent)
    assert (shown.enabled, shown.reason) == (True, None)
    assert shown.url == place.environment["TELEMETRY_URL"]


def without_time(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name != "ts"}


def test_reports_go_to_the_makers_by_default(tmp_path: Path) -> None:
    assert Reporter(Totals(), facts, lambda: True, {}, tmp_path).url == COLLECTOR


def test_a_name_is_a_hash_written_as_the_original_does() -> None:
    # printf 0123muxi | sha256sum | cut -c1-32
    assert hashed("0123") == "9d4a54c1-7f14-3d7b-56ac-8a2993f00b93"
