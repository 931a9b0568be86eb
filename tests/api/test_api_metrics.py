from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from muxi.config.metrics import MetricsConfig
from muxi.formation.view import DrainView
from muxi.process.usage import Usage
from tests.api.harness import Api, make_api, view

if TYPE_CHECKING:
    from pathlib import Path

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
USAGE = Usage(processes=3, threads=12, memory=123456789, cpu_seconds=1.25, open_files=30, at=1.0)


def read(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    return series[name, frozenset(labels.items())]


@pytest.fixture
def api(tmp_path: Path) -> Api:
    busy: dict[str, Any] = {
        "restart_count": 4,
        "usage": USAGE,
        "drain": DrainView(in_flight=2, streams=1, tunnels=0, seconds_left=9),
    }
    return make_api(
        tmp_path, view("my-bot", **busy), view("a-bot", "crashed"), metrics=MetricsConfig(enabled=True)
    )


async def scrape(api: Api) -> Series:
    answer = await api.call("GET", "/metrics", signed=False)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return read(answer.body.decode())


async def test_there_are_none_unless_asked_for(tmp_path: Path) -> None:
    answer = await make_api(tmp_path, view("my-bot")).call("GET", "/metrics", signed=False)
    assert (answer.status, answer.json["message"]) == (404, "Endpoint not found")


async def test_how_each_formation_stands_and_what_it_uses(api: Api) -> None:
    found = await scrape(api)
    assert value(found, "muxi_formation_state", formation="my-bot", state="running") == 1
    assert value(found, "muxi_formation_state", formation="my-bot", state="crashed") == 0
    assert value(found, "muxi_formation_state", formation="a-bot", state="crashed") == 1
    for name, expected in {
        "healthy": 1,
        "restarts_total": 4,
        "draining": 1,
        "crash_loop": 0,
        "uptime_seconds": 93,
        "memory_bytes": 123456789,
        "cpu_seconds_total": 1.25,
        "processes": 3,
        "threads": 12,
        "open_files": 30,
    }.items():
        assert value(found, f"muxi_formation_{name}", formation="my-bot") == expected
    assert not any(
        name == "muxi_formation_memory_bytes" and ("formation", "a-bot") in labels for name, labels in found
    )


async def test_what_the_proxy_has_counted(api: Api) -> None:
    routes = api.facilities.routes
    routes.publish("my-bot", "running", None)
    traffic = routes.live[b"my-bot"].traffic
    traffic.statuses[:] = [1, 0, 7, 0, 2, 3]
    traffic.bytes_in, traffic.bytes_out = 10, 2000
    traffic.in_flight, traffic.streams, traffic.tunnels, traffic.holding = 4, 3, 2, 1
    traffic.held, traffic.retries, traffic.rate_limited = 5, 6, 8
    traffic.first_byte.add(0.004)
    traffic.first_event.add(400.0)
    traffic.stream_seconds.add(5000.0)
    found = await scrape(api)
    by_class = {
        one: value(found, "muxi_formation_requests_total", formation="my-bot", **{"class": one})
        for one in ("1xx", "2xx", "3xx", "4xx", "5xx", "none")
    }
    assert by_class == {"1xx": 0, "2xx": 7, "3xx": 0, "4xx": 2, "5xx": 3, "none": 1}
    for name, expected in {
        "request_bytes_total": 10,
        "response_bytes_total": 2000,
        "in_flight": 4,
        "streams": 3,
        "tunnels": 2,
        "holding": 1,
        "held_total": 5,
        "retries_total": 6,
        "rate_limited_total": 8,
        "first_byte_seconds_count": 1,
        "first_event_seconds_sum": 400,
        "stream_seconds_count": 1,
    }.items():
        assert value(found, f"muxi_formation_{name}", formation="my-bot") == expected

    def bucket(family: str, bound: str) -> float:
        return value(found, f"muxi_formation_{family}_seconds_bucket", formation="my-bot", le=bound)

    assert (bucket("first_byte", "0.0025"), bucket("first_byte", "0.005")) == (0, 1)
    assert (bucket("first_event", "300"), bucket("first_event", "900")) == (0, 1)
    assert (bucket("stream", "3600"), bucket("stream", "+Inf")) == (0, 1)


async def test_the_server_itself(api: Api) -> None:
    api.app.parts.proxy_status = lambda: {
        "connections": 12,
        "requests": 3,
        "tally": {"connections": 100, "requests": 99, "refused_requests": 1},
    }
    api.app.parts.code_runner = lambda: {"state": "running"}
    found = await scrape(api)
    assert value(found, "muxi_proxy_connections") == 12
    assert value(found, "muxi_proxy_connections_total") == 100
    assert value(found, "muxi_proxy_requests_total") == 99
    assert value(found, "muxi_proxy_refused_requests_total") == 1
    assert value(found, "muxi_formations", state="total") == 2
    assert value(found, "muxi_formations", state="crashed") == 1
    assert value(found, "muxi_ports_allocated") == 2
    assert value(found, "muxi_rce_up") == 1
    assert value(found, "muxi_server_info", version="1.0.0", server_id="server-test-00000000") == 1
    assert value(found, "process_resident_memory_bytes") > 1_000_000


async def test_a_token_that_is_set_must_be_shown(tmp_path: Path) -> None:
    api = make_api(tmp_path, view("my-bot"), metrics=MetricsConfig(enabled=True, token="CANARY"))
    for shown in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic CANARY"}):
        answer = await api.call("GET", "/metrics", headers=shown, signed=False)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert b"my-bot" not in answer.body
        assert b"CANARY" not in answer.body
    answer = await api.call("GET", "/metrics", headers={"Authorization": "bearer CANARY"}, signed=False)
    assert answer.status == 200


async def test_pages_of_other_sites_can_not_read_them(api: Api) -> None:
    answer = await api.call("GET", "/metrics", headers={"Origin": "http://elsewhere"}, signed=False)
    assert "access-control-allow-origin" not in answer.headers


def test_the_token_is_in_no_repr() -> None:
    assert "CANARY" not in repr(MetricsConfig(enabled=True, token="CANARY"))
