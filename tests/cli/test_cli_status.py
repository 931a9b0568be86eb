from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.cli import main
from muxi.cli.status import sections

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import FakeServer

HEALTH = {"status": "ok"}
STATUS: dict[str, object] = {
    "server": {"id": "server-1", "version": "1.0.0", "uptime": 61},
    "formations": {"total": 1},
    "ports": {"range": "8000-8999"},
}
RUNTIMES: list[object] = [
    {"name": "native", "available": True, "preferred": False, "version": "", "where": ""},
    {
        "name": "apptainer",
        "available": True,
        "preferred": True,
        "version": "1.3.4",
        "where": "/usr/bin/apptainer",
    },
    {
        "name": "docker",
        "available": False,
        "preferred": False,
        "version": "",
        "where": "",
        "problem": "Docker does not answer",
        "cure": "Start it.",
    },
]
RCE: dict[str, object] = {
    "state": "running",
    "reason": None,
    "url": "http://127.0.0.1:7891",
    "exposed_on": [],
    "pid": 7,
}


def test_runtimes_and_the_code_runner_are_shown() -> None:
    found = sections("http://here", HEALTH, {**STATUS, "runtimes": RUNTIMES, "rce": RCE})
    assert found["Runtimes"] == [
        ("native", "present"),
        ("apptainer", "1.3.4 /usr/bin/apptainer (preferred)"),
        ("docker", "not usable: Docker does not answer; Start it."),
    ]
    assert found["Code runner"] == [("State", "running"), ("Url", "http://127.0.0.1:7891"), ("Pid", "7")]


def test_what_each_formation_runs_on_is_told_and_why() -> None:
    pin = {"name": "muxi-python", "version": "1.20260928.0", "artifact": "ab", "reason": "the first present"}
    listed = [{"id": "bot", "runtime": pin}, {"id": "crashed-bot", "runtime": None}]
    found = sections("http://here", HEALTH, STATUS, listed)
    assert found["Runs on"] == [("bot", "muxi-python 1.20260928.0 (the first present)")]
    many = [{"id": f"bot-{number}", "runtime": {"name": "native"}} for number in range(22)]
    named = sections("http://here", HEALTH, STATUS, many)["Runs on"]
    assert (len(named), named[0], named[-1]) == (
        21,
        ("bot-0", "native"),
        ("...", "2 more: muxi-server formation list"),
    )


def test_an_older_server_tells_of_neither() -> None:
    found = sections("http://here", HEALTH, STATUS)
    assert set(found) == {"Server", "Formations", "Ports"}


def test_a_brief_status_asks_for_nothing_that_is_audited(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_server.json("GET", "/health", {"status": "ok"})
    assert main.run(["status", "--brief"]) == 0
    assert fake_server.routes() == [("GET", "/health")]
    assert capsys.readouterr().out == "ok\n"
    monkeypatch.setenv("MUXI_PORT", "1")
    assert main.run(["status", "--brief"]) == 1
    assert "No MUXI server answers" in capsys.readouterr().err
