"""A canary, put wherever a caller can put something, must come out nowhere."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from muxi.observe.logging import LogSetup, configure_logging
from tests.api.harness import GZIP, SECRET, make_api, view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "Canary_7f3a9c51"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogSetup]:
    before = structlog.get_config()
    level = logging.getLogger().level
    setup = configure_logging("debug", "json", tmp_path / "server.log")
    yield setup
    setup.close()
    logging.getLogger().setLevel(level)
    structlog.configure(**before)


async def test_no_canary_sings(tmp_path: Path, log: LogSetup) -> None:
    api = make_api(tmp_path, view("my-bot"))
    answers = [
        await api.get("/rpc/formations", Authorization=f"Bearer {CANARY}"),
        await api.get(
            "/rpc/formations", Authorization=f"MUXI-HMAC key={CANARY}, timestamp=1, signature={CANARY}"
        ),
        await api.get(
            "/rpc/formations/my-bot", **{"X-Muxi-Client-Key": CANARY, "Cookie": f"session={CANARY}"}
        ),
        await api.get(f"/rpc/formations?status={CANARY}"),
        await api.get(f"/rpc/formations/my-bot/logs?token={CANARY}&lines={CANARY}"),
        await api.get(f"/rpc/formations/{CANARY}"),
        await api.get(f"/rpc/{CANARY}"),
        await api.get(f"/{CANARY}?{CANARY}"),
        await api.call(CANARY, "/rpc/formations"),
        await api.post(
            "/rpc/formations/new-bot/deploy",
            json.dumps({"env": {"OPENAI_API_KEY": CANARY}, CANARY: 1}).encode(),
            **{"Content-Type": "application/json"},
        ),
        await api.post("/rpc/formations/new-bot/deploy", CANARY.encode(), **{"Content-Type": CANARY}),
        await api.post("/rpc/formations", CANARY.encode(), **GZIP, **{"X-Formation-ID": f"{CANARY}!"}),
        await api.get("/rpc/server/logs"),
    ]
    await api.audited()
    api.app.logger.warning("OPENAI_API_KEY=%s", CANARY)
    structlog.get_logger().error("careless", secret=CANARY, header=f"Authorization: Bearer {CANARY}")
    log.close(30)
    text = (tmp_path / "server.log").read_text()
    for line in text.splitlines():
        if '"method":' not in line:  # a method is any token; it is recorded, cut short
            assert CANARY not in line
    assert SECRET not in text
    assert CANARY not in api.audit.path.read_text().replace(f'"method":"{CANARY}"', "")
    for answer in answers:
        assert CANARY.encode() not in answer.body
        assert CANARY not in str(answer.headers)
