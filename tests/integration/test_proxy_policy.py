"""The proxy's policies in a whole server: a manifest's, the operator's, and what is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.outside import audit_lines, configure, until
from tests.live import bundle, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live import LiveServer

MORE = """
proxy: {max_body_size: 1M, max_connections: 500}
"""
BEHIND = {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(tmp_path_factory.mktemp("strict"), MORE) as live:
        yield live


def test_a_manifests_limits_hold_and_are_counted(strict: LiveServer) -> None:
    deployed = strict.deploy(
        "limited", bundle("limited", proxy={"rate": 0.001, "burst": 2, "max_body_size": "1K"})
    )
    assert deployed.status_code in {200, 201}, deployed.text
    too_large = strict.rpc("POST", "/api/limited/v1/echo", content=b"x" * 1025)
    assert too_large.status_code == 413
    answers = [strict.get("/api/limited/v1/health") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 1
    assert all(answer.headers["x-request-id"] for answer in answers)
    traffic = strict.rpc("GET", "/rpc/formations/limited").json()["data"]["traffic"]
    assert traffic["by_status"]["2xx"] == 2
    assert traffic["by_status"]["4xx"] == 3
    assert (traffic["rate_limited"], traffic["refused"], traffic["in_flight"]) == (2, 1, 0)


def test_one_that_asks_for_more_than_the_server_allows_is_refused(strict: LiveServer) -> None:
    refused = strict.deploy("greedy", bundle("greedy", proxy={"max_body_size": "2M"}))
    assert "more than this server allows, 1M" in refused.text
    assert strict.get("/api/greedy/").status_code == 404


def test_the_status_page_shows_limits_and_use(strict: LiveServer) -> None:
    proxy = strict.rpc("GET", "/rpc/server/status").json()["data"]["proxy"]
    assert proxy["limits"]["max_connections"] == 500
    assert proxy["limits"]["max_head_size"] == 32 * 1024
    assert proxy["connections"] >= 1
    assert proxy["tally"]["connections"] >= 1


@pytest.mark.parametrize(("trusted", "address"), [([], "127.0.0.1"), (["127.0.0.0/8"], "203.0.113.7")])
def test_who_is_audited_behind_a_proxy(tmp_path: Path, trusted: list[str], address: str) -> None:
    configure(tmp_path, {"server": {"trusted_proxies": trusted}})
    with running(tmp_path) as server:
        server.rpc("GET", "/rpc/formations", headers={**BEHIND, "X-Request-ID": "behind"})
        until(lambda: bool(lines(server, "behind")), "an audit line")
        (line,) = lines(server, "behind")
        assert line["address"] == address


def lines(server: LiveServer, request_id: str) -> list[dict[str, object]]:
    return [line for line in audit_lines(server) if line["request_id"] == request_id]
