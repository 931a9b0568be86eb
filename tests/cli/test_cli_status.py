from __future__ import annotations

from muxi.cli.status import sections

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


def test_an_older_server_tells_of_neither() -> None:
    found = sections("http://here", HEALTH, STATUS)
    assert set(found) == {"Server", "Formations", "Ports"}
