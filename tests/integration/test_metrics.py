"""Metrics of a whole server, as a scraper sees them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.outside import configure
from tests.live import DEADLINE, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live import LiveServer

ASKED = "metrics: {enabled: true, token: CANARY}"


def scrape(server: LiveServer) -> dict[str, float]:
    """Read all series; each by its name and labels as text."""
    answer = server.get("/metrics", Authorization="Bearer CANARY")
    assert answer.status_code == 200
    return {
        " ".join(
            (sample.name, *(f"{name}={text}" for name, text in sorted(sample.labels.items())))
        ): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def scrape_until(server: LiveServer, series: str, wanted: float) -> None:
    deadline = time.monotonic() + DEADLINE
    while (found := scrape(server).get(series)) != wanted:
        assert time.monotonic() < deadline, f"{series} is {found}"
        time.sleep(0.05)


def test_requests_are_counted_and_unknown_ids_add_nothing(tmp_path: Path) -> None:
    with running(tmp_path, ASKED) as server:
        assert server.get("/metrics").status_code == 401
        assert server.deploy("my-bot").status_code == 201
        for _ in range(5):
            assert server.get("/api/my-bot/x").status_code == 200
        ok = "muxi_formation_requests_total class=2xx formation=my-bot"
        scrape_until(server, ok, 5)
        before = scrape(server)
        assert before["muxi_formation_state formation=my-bot state=running"] == 1
        assert before["muxi_formation_first_byte_seconds_count formation=my-bot"] == 5
        for number in range(1000):
            assert server.get(f"/api/unknown-{number}/x").status_code == 404
        assert scrape(server).keys() == before.keys()
        assert server.rpc("DELETE", "/rpc/formations/my-bot").status_code == 200
        assert not any("my-bot" in series for series in scrape(server))


def test_all_processes_that_proxy_are_counted(tmp_path: Path) -> None:
    configure(tmp_path, {"server": {"workers": 2}, "metrics": {"enabled": True, "token": "CANARY"}})
    with running(tmp_path) as server:
        assert server.deploy("my-bot").status_code == 201
        clients = [httpx.Client(timeout=DEADLINE, trust_env=False) for _ in range(12)]
        try:
            for client in clients:
                for _ in range(3):
                    assert client.get(f"{server.url}/api/my-bot/x").status_code == 200
            (worker,) = server.rpc("GET", "/rpc/server/status").json()["data"]["proxy"]["workers"]
            assert worker["requests_total"], "it had its part"
            scrape_until(server, "muxi_formation_requests_total class=2xx formation=my-bot", 36)
            scrape_until(server, "muxi_formation_first_byte_seconds_count formation=my-bot", 36)
        finally:
            for client in clients:
                client.close()
