from __future__ import annotations

import errno
import json
import os
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest
import structlog
import trio

from muxi.api.audit import AuditEntry, AuditLog
from muxi.observe.append import LineFile
from tests.api.harness import KEY, NOW, Api, make_api, make_scope, view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def entry(request_id: str) -> AuditEntry:
    return AuditEntry(
        time="2026-01-02T03:04:05.678Z",
        request_id=request_id,
        key_id=KEY,
        address="192.0.2.7",
        method="GET",
        route="/rpc/formations",
        formation=None,
        status=200,
        duration_ms=1.5,
    )


def ids(path: Path) -> list[str]:
    return [json.loads(line)["request_id"] for line in path.read_text().splitlines()]


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path, view("my-bot"))


async def test_every_management_request_is_recorded_refused_ones_too(api: Api) -> None:
    await api.get("/rpc/formations/my-bot", **{"X-Request-ID": "one"})
    await api.get("/rpc/formations/nobody")
    await api.call("GET", "/rpc/formations", signed=False)
    await api.get("/rpc/nowhere/very-long-secret")
    await api.call("PATCH", "/rpc/formations", signed=False)
    await api.call("GET", "/health", signed=False)
    await api.call("GET", "/nowhere", signed=False)
    entries = await api.audited()
    told = [
        (item["method"], item["route"], item["formation"], item["status"], item["key_id"]) for item in entries
    ]
    one = "/rpc/formations/{formation_id}"
    assert told == [
        ("GET", one, "my-bot", 200, KEY),
        ("GET", one, "nobody", 404, KEY),
        ("GET", "/rpc/formations", None, 401, None),
        ("GET", None, None, 404, None),
        ("PATCH", None, None, 405, None),
    ]
    assert entries[0]["request_id"] == "one"
    assert entries[0]["address"] == "192.0.2.7"
    assert entries[0]["time"].endswith("Z")
    assert entries[0]["duration_ms"] >= 0


@pytest.mark.parametrize(
    ("header", "recorded"),
    [
        (f"MUXI-HMAC key={KEY}, timestamp={NOW:.0f}, signature=wrong", KEY),
        (f"MUXI-HMAC key=stranger, timestamp={NOW:.0f}, signature=wrong", None),
        (f"key={KEY}", None),
        ("", None),
    ],
)
async def test_a_refused_request_is_recorded_under_the_known_key_it_claims(
    api: Api, header: str, recorded: str | None
) -> None:
    await api.get("/rpc/formations", Authorization=header)
    (item,) = await api.audited()
    assert (item["status"], item["key_id"]) == (401, recorded)


async def test_what_the_caller_makes_up_is_not_recorded(api: Api) -> None:
    await api.get("/rpc/formations/CANARY-not-an-id?query=CANARY", **{"X-Formation-ID": "CANARY"})
    await api.call("X" * 5000, "/rpc/formations")
    await api.audited()
    text = api.audit.path.read_text()
    assert "CANARY" not in text
    assert len(text) < 1000


async def test_the_file_is_private_and_survives_being_moved(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "logs" / "audit.log")
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        log.record(entry("before"))
        await _until(lambda: log.path.exists() and log.path.read_text())
        log.path.rename(tmp_path / "audit.log.1")
        log.record(entry("after"))
        log.close()
    assert ids(tmp_path / "audit.log.1") == ["before"]
    assert ids(log.path) == ["after"]
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


async def test_an_existing_readable_file_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text("")
    path.chmod(0o644)
    log = AuditLog(path)
    log.record(entry("one"))
    log.close()
    await log.run()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_waits_is_written_when_the_server_ends(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        for number in range(1000):
            log.record(entry(str(number)))
        nursery.cancel_scope.cancel()
    assert ids(log.path) == [str(number) for number in range(1000)]
    log.record(entry("too late"))
    assert log.dropped == 1


async def test_recording_never_waits(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log", capacity=2)
    with structlog.testing.capture_logs() as logs:
        for number in range(5):
            log.record(entry(str(number)))
    assert log.dropped == 3
    assert [item["event"] for item in logs] == ["audit log can't be written"]
    log.close()
    await log.run()
    assert ids(log.path) == ["0", "1"]


async def test_a_failing_disk_is_said_once_and_lines_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path / "audit.log")
    full = True
    real = LineFile.append

    def append(self: LineFile, data: bytes) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, data)

    monkeypatch.setattr(LineFile, "append", append)
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(log.run)
            for number in range(3):
                log.record(entry(str(number)))
                await _until(partial(_has_dropped, log, number + 1))
            full = False
            log.record(entry("back"))
            log.close()
    assert ids(log.path) == ["back"]
    assert [(item["event"], item.get("dropped")) for item in logs] == [
        ("audit log can't be written", None),
        ("audit log is written again", 3),
    ]
    assert logs[0]["reason"] == "No space left on device"


async def test_a_request_does_not_wait_for_the_audit_log(api: Api) -> None:
    with trio.fail_after(30):  # nothing runs the log here, so nothing is ever taken from it
        for _ in range(3):
            assert (await api.get("/rpc/formations")).status == 200


async def test_a_client_that_leaves_is_recorded(api: Api) -> None:
    path = "/rpc/formations/my-bot/restart"
    headers = {"Authorization": api.signature("POST", path)}
    async with api.exchange(make_scope("POST", path, headers)) as exchange:
        await exchange.send(b"", last=True)
        await trio.testing.wait_all_tasks_blocked()
        await exchange.leave()
    (item,) = await api.audited()
    assert (item["status"], item["formation"]) == (499, "my-bot")
    assert item["operation_id"] == api.fleet.operations[0].id


async def _until(condition: Callable[[], object]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - a file has no event
            await trio.sleep(0.005)


def _has_dropped(log: AuditLog, count: int) -> bool:
    return log.dropped == count


async def test_flush_waits_for_what_was_recorded_and_for_nothing_else(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "audit.log")
    with trio.fail_after(30):
        await audit.flush()
        async with trio.open_nursery() as nursery:
            await nursery.start(audit.run)
            for number in range(600):
                audit.record(entry(str(number)))
            await audit.flush()
            assert ids(tmp_path / "audit.log") == [str(number) for number in range(600)]
            audit.close()
