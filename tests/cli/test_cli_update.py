"""`formation update`, `rollback`, `cancel` and `operation` against an API that answers as it is told."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from muxi.cli import main, options, progress
from muxi.formation import manifest
from tests.cli.test_cli_formation import ITEM, STAGES, formation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from muxi.cli.sse import ServerEvent
    from tests.cli.conftest import FakeServer

__all__ = ["formation"]

ONE = "/rpc/formations/my-agent"
COMPLETE: tuple[str, dict[str, object]] = (
    "complete",
    {"version": "1.2.0", "release": 3, "previous_release": 2, "status": "running"},
)
RUNNING: dict[str, object] = {
    "id": "0f",
    "kind": "update",
    "state": "running",
    "stage": "extracting",
    "message": "Extracting bundle...",
    "progress": 40,
    "started_at": "2026-11-25T14:00:00Z",
    "ended_at": None,
    "drain": {"in_flight": 2, "seconds_left": 7},
    "error": None,
}


def test_update_sends_the_directory_and_tells_each_stage(
    formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_server.json("GET", ONE, ITEM)
    fake_server.events("PUT", ONE, *STAGES, COMPLETE)
    assert main.run(["formation", "update", str(formation)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Updating my-agent to 1.2.0 (2 files) on http://127.0.0.1:{fake_server.port}",
        "extracting: extracting ...",
        "spawning: spawning ...",
        "Updated my-agent: version 1.2.0, release 3",
        "  Before: release 2",
    ]
    sent = fake_server.seen[-1]
    assert sent.headers["x-formation-version"] == "1.2.0"
    assert sent.headers["accept"] == "text/event-stream"
    with tarfile.open(fileobj=io.BytesIO(sent.body)) as tar:
        assert tar.getnames() == ["my-agent/app.py", "my-agent/formation.afs"]


def test_the_wishes_of_an_update_are_passed_on(formation: Path, fake_server: FakeServer) -> None:
    fake_server.json("GET", ONE, ITEM)
    fake_server.events("PUT", ONE, COMPLETE)
    assert main.run(["formation", "update", str(formation), "--force", "--strategy", "recreate"]) == 0
    assert fake_server.seen[-1].path == f"{ONE}?strategy=recreate&force=true"
    assert main.run(["formation", "update", str(formation), "--strategy", "sideways"]) == 2
    assert manifest.STRATEGIES == options.STRATEGIES


def test_an_update_of_what_is_not_there_is_told_before_anything_is_sent(
    formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_server.refuse("GET", ONE, 404, "Formation not found")
    assert main.run(["formation", "update", str(formation)]) == 1
    assert "Formation not found" in capsys.readouterr().err
    assert fake_server.routes() == [("GET", ONE)]


def test_a_failed_update_says_why_and_what_became_of_it(
    formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    error: dict[str, object] = {
        "error": "HealthCheckFailed",
        "message": "Formation crashed during startup: exit status 3",
        "stage": "health_check",
        "cure": "Mend it. The release before is still the current one.",
        "details": {"log_tail": ["stderr: boom"], "rollback_status": "not_needed"},
    }
    fake_server.json("GET", ONE, ITEM)
    fake_server.events("PUT", ONE, *STAGES, ("error", error))
    assert main.run(["formation", "update", str(formation)]) == 1
    told = capsys.readouterr().err
    for words in ("exit status 3", "stderr: boom", "still the current one"):
        assert words in told


def test_ctrl_c_cancels_an_update(
    formation: Path,
    fake_server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(_events: Iterator[ServerEvent], _show: object) -> dict[str, object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "follow", interrupted)
    fake_server.json("GET", ONE, ITEM)
    fake_server.events("PUT", ONE, *STAGES)
    fake_server.json("POST", f"{ONE}/cancel", {"message": "Update cancelled successfully"})
    assert main.run(["formation", "update", str(formation)]) == 130
    assert fake_server.routes()[-1] == ("POST", f"{ONE}/cancel")
    fake_server.refuse("POST", f"{ONE}/cancel", 409, "The update can't be cancelled any more")
    assert main.run(["formation", "update", str(formation)]) == 130
    assert "can't be cancelled any more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ([], ""),
        (["3"], "?release=3"),
        (["1.2.0"], "?version=1.2.0"),
        (["3", "--strategy", "recreate"], "?release=3&strategy=recreate"),
    ],
)
def test_rollback(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str], arguments: list[str], query: str
) -> None:
    fake_server.events("POST", f"{ONE}/rollback", *STAGES, COMPLETE)
    assert main.run(["formation", "rollback", "my-agent", *arguments]) == 0
    assert fake_server.seen[-1].path == f"{ONE}/rollback{query}"
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "Rolled back my-agent: version 1.2.0, release 3",
        "  Before: release 2",
    ]
    assert main.run(["formation", "rollback", "my-agent", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == COMPLETE[1]


def test_cancel(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"message": "Update cancelled successfully", "status": "running"}
    fake_server.json("POST", f"{ONE}/cancel", answer)
    assert main.run(["formation", "cancel", "my-agent"]) == 0
    assert capsys.readouterr().out == "Update cancelled successfully. my-agent is running.\n"
    assert main.run(["formation", "cancel", "my-agent", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer
    fake_server.refuse("POST", f"{ONE}/cancel", 400, "No update in progress for this formation")
    assert main.run(["formation", "cancel", "my-agent"]) == 1
    assert "No update in progress" in capsys.readouterr().err


def test_operation(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    fake_server.json("GET", f"{ONE}/operation", RUNNING)
    assert main.run(["formation", "operation", "my-agent"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "update: running",
        "  Id: 0f",
        "  Stage: extracting",
        "  Started: 2026-11-25T14:00:00Z",
        "  Now: Extracting bundle... (40 %)",
        "  Waiting for 2 requests, 7 s at most",
    ]
    failed = RUNNING | {
        "state": "failed",
        "ended_at": "2026-11-25T14:01:00Z",
        "drain": None,
        "error": {"message": "It \x1b[31mcrashed.", "cure": "Mend it."},
    }
    fake_server.json("GET", f"{ONE}/operation", failed)
    assert main.run(["formation", "operation", "my-agent", "--id", "0f"]) == 0
    assert fake_server.seen[-1].path == f"{ONE}/operation?id=0f"
    told = capsys.readouterr().out
    assert "  Ended: 2026-11-25T14:01:00Z" in told
    assert "  What to do: Mend it." in told
    assert "\x1b" not in told


def test_operation_followed(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    fake_server.events("GET", f"{ONE}/operation", *STAGES, ("complete", {"message": "Formation updated"}))
    assert main.run(["formation", "operation", "my-agent", "-f"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "extracting: extracting ...",
        "spawning: spawning ...",
        "Done: Formation updated",
    ]
