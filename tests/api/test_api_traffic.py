"""What the API tells of the proxy: the status page, and a formation's traffic."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from muxi.api.app import create_app
from muxi.api.views import traffic_object
from muxi.registry.traffic import Traffic
from tests.api.harness import make_api, view

if TYPE_CHECKING:
    from pathlib import Path


def some_traffic() -> Traffic:
    traffic = Traffic()
    traffic.statuses[2], traffic.statuses[5] = 8, 2
    traffic.bytes_in, traffic.bytes_out, traffic.rate_limited = 100, 2000, 3
    for seconds in (0.01, 0.02, 0.03, 4.0):
        traffic.first_byte.add(seconds)
    return traffic


async def test_a_formation_shows_its_traffic_but_a_list_does_not(tmp_path: Path) -> None:
    api = make_api(tmp_path, view("my-bot", traffic=some_traffic().snapshot()), view("other"))
    traffic = (await api.get("/rpc/formations/my-bot")).data["traffic"]
    assert (traffic["requests"], traffic["by_status"]["2xx"], traffic["by_status"]["5xx"]) == (10, 8, 2)
    assert (traffic["bytes_in"], traffic["bytes_out"], traffic["rate_limited"]) == (100, 2000, 3)
    assert traffic["first_byte"] == {"count": 4, "mean": 1.015, "p50": 0.025, "p90": 5.0, "p99": 5.0}
    assert traffic["first_event"] == {"count": 0, "mean": None, "p50": None, "p90": None, "p99": None}
    assert (await api.get("/rpc/formations/other")).data["traffic"] is None
    assert all("traffic" not in item for item in (await api.get("/rpc/formations")).data["formations"])


def test_every_count_is_shown() -> None:
    shown = traffic_object(Traffic().snapshot())
    assert shown is not None
    assert set(Traffic.__slots__) - {"statuses"} <= shown.keys()


async def test_the_status_page_shows_the_proxy(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    assert (await api.get("/rpc/server/status")).data["proxy"] == {}
    told = {"connections": 3, "limits": {"max_connections": None}, "tally": {"requests": 9}}
    api = replace(api, app=create_app(replace(api.app.parts, proxy_status=lambda: told)))
    assert (await api.get("/rpc/server/status")).data["proxy"] == told
