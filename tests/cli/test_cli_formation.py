"""The client commands against a management API that answers as it is told."""

from __future__ import annotations

import io
import json
import socket
import tarfile
from typing import TYPE_CHECKING

import pytest

from muxi.auth.keyring import Keyring
from muxi.cli import main, progress
from muxi.config.load import load
from muxi.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from muxi.cli.sse import ServerEvent
    from tests.cli.conftest import FakeServer, Installation, Seen

ITEM = {
    "id": "my-agent",
    "name": "My Agent",
    "status": "running",
    "port": 8001,
    "pid": 4711,
    "uptime": 93,
    "restart_count": 2,
    "healthy": True,
    "version": {"semantic": "1.2.0", "current": "9f86"},
    "runtime": {"name": "muxi-python", "version": "1.20260928.0", "reason": "the first that is present"},
    "reason": "restarted after killed by SIGKILL",
    "usage": {"processes": 3, "threads": 12, "memory": 123456789, "cpu_seconds": 1.25, "open_files": 30},
}
USAGE_COLUMNS = ("MEMORY", "CPU", "PROCS", "RUNTIME")
STAGES: list[tuple[str, dict[str, object]]] = [
    ("progress", {"stage": stage, "message": f"{stage} ..."}) for stage in ("extracting", "spawning")
]
COMPLETE: tuple[str, dict[str, object]] = (
    "complete",
    {"formation_id": "my-agent", "port": 8001, "status": "running"},
)


@pytest.fixture
def formation(tmp_path: Path) -> Path:
    directory = tmp_path / "my agent"
    directory.mkdir()
    (directory / "formation.afs").write_text('schema: "1.0.0"\nid: my-agent\nversion: "1.2.0"\n')
    (directory / "app.py").write_text("print('hello')\n")
    (directory / "debug.log").write_text("left out")
    return directory


def signed(seen: Seen, installation: Installation) -> bool:
    keyring = Keyring(load(installation.paths).config.auth.keys, 300)
    stamp = float(seen.headers["authorization"].partition("timestamp=")[2].partition(",")[0])
    try:
        keyring.authenticate(seen.headers["authorization"], seen.method, seen.path.partition("?")[0], stamp)
    except Unauthorized:
        return False
    return True


def test_deploy_sends_a_signed_bundle_and_tells_each_stage(
    formation: Path,
    fake_server: FakeServer,
    installation: Installation,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_server.events("POST", "/rpc/formations", *STAGES, COMPLETE)
    assert main.run(["formation", "deploy", str(formation)]) == 0
    url = f"http://127.0.0.1:{fake_server.port}"
    assert capsys.readouterr().out.splitlines() == [
        f"Deploying my-agent 1.2.0 (2 files) to {url}",
        "extracting: extracting ...",
        "spawning: spawning ...",
        "Deployed my-agent: running",
        f"  URL: {url}/api/my-agent/",
    ]
    asked, sent = fake_server.seen
    assert (asked.method, asked.path) == ("GET", "/rpc/formations/my-agent")
    assert sent.headers["content-type"] == "application/gzip"
    assert sent.headers["x-formation-id"] == "my-agent"
    assert sent.headers["x-formation-version"] == "1.2.0"
    assert sent.headers["accept"] == "text/event-stream"
    assert all(signed(seen, installation) for seen in fake_server.seen)
    with tarfile.open(fileobj=io.BytesIO(sent.body)) as tar:
        assert tar.getnames() == ["my-agent/app.py", "my-agent/formation.afs"]


def test_deploy_as_json_prints_only_the_result(
    formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_server.events("POST", "/rpc/formations", *STAGES, COMPLETE)
    assert main.run(["formation", "deploy", str(formation), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == COMPLETE[1]


def test_the_current_directory_is_the_default(
    formation: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_server.events("POST", "/rpc/formations", COMPLETE)
    monkeypatch.chdir(formation)
    assert main.run(["formation", "deploy"]) == 0


def test_a_failed_deploy_shows_the_log_and_the_cure(
    formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    error: dict[str, object] = {
        "error": "HealthCheckFailed",
        "message": "Formation crashed during startup: exit status 3",
        "stage": "health_check",
        "cure": "Mend it.",
        "details": {"log_tail": ["Traceback", "ValueError: no model"]},
    }
    fake_server.events("POST", "/rpc/formations", *STAGES, ("error", error))
    assert main.run(["formation", "deploy", str(formation)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Error: Formation crashed during startup: exit status 3",
        "The last lines of its log:",
        "  | Traceback",
        "  | ValueError: no model",
        "What to do: Mend it.",
    ]


def test_one_that_exists_is_left_alone(
    formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_server.json("GET", "/rpc/formations/my-agent", ITEM)
    assert main.run(["formation", "deploy", str(formation)]) == 1
    err = capsys.readouterr().err
    assert "'my-agent' already exists" in err
    assert "formation update" in err
    assert fake_server.routes() == [("GET", "/rpc/formations/my-agent")]


def test_a_bad_manifest_is_told_before_anything_is_sent(
    formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (formation / "formation.afs").write_text("id: -bad\n")
    assert main.run(["formation", "deploy", str(formation)]) == 1
    assert "formation.afs" in capsys.readouterr().err
    (formation / "formation.afs").unlink()
    assert main.run(["formation", "deploy", str(formation)]) == 1
    assert "formation.afs" in capsys.readouterr().err
    assert fake_server.seen == []


def test_a_link_in_the_directory_is_told_and_nothing_is_uploaded(
    formation: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (formation / "data").symlink_to("/")
    assert main.run(["formation", "deploy", str(formation)]) == 1
    assert "symbolic link" in capsys.readouterr().err
    assert [method for method, _ in fake_server.routes()] == ["GET"]


def test_ctrl_c_takes_an_accepted_deployment_back(
    formation: Path,
    fake_server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(events: Iterator[ServerEvent], show: object) -> dict[str, object]:
        next(events)
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "follow", interrupted)
    fake_server.events("POST", "/rpc/formations", *STAGES, COMPLETE)
    fake_server.json("DELETE", "/rpc/formations/my-agent", {"id": "my-agent"})
    assert main.run(["formation", "deploy", str(formation)]) == 130
    assert fake_server.routes()[-1] == ("DELETE", "/rpc/formations/my-agent")
    assert "removing my-agent" in capsys.readouterr().err


def test_ctrl_c_while_sending_deletes_nothing(
    formation: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("muxi.cli.client.ServerClient.stream", interrupted)
    assert main.run(["formation", "deploy", str(formation)]) == 130
    assert ("DELETE", "/rpc/formations/my-agent") not in fake_server.routes()


def test_taking_back_says_when_it_can_t(
    formation: Path,
    fake_server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(events: object, show: object) -> dict[str, object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "follow", interrupted)
    fake_server.events("POST", "/rpc/formations", COMPLETE)
    fake_server.refuse("DELETE", "/rpc/formations/my-agent", 409, "busy")
    assert main.run(["formation", "deploy", str(formation)]) == 130
    assert "could not be removed: busy" in capsys.readouterr().err


def test_list_is_a_line_each(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"id": "a-first", "status": "stopped", "uptime": 0, "pid": 0, "version": None}
    fake_server.json("GET", "/rpc/formations", {"formations": [ITEM, other], "total": 2})
    assert main.run(["formation", "list"]) == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ID", "STATUS", "VERSION", "PORT", "PID", "UPTIME", "RESTARTS", *USAGE_COLUMNS]
    assert first.split() == ["a-first", "stopped", "-", "-", "-", "0s", "-", "-", "-", "-", "-"]
    assert second.split() == [
        "my-agent",
        "running",
        "1.2.0",
        "8001",
        "4711",
        "1m",
        "33s",
        "2",
        "118M",
        "1.25s",
        "3",
        "muxi-python",
    ]


def test_a_directory_that_runs_is_marked(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    run = {"id": "my-agent", "status": "running", "port": 8002, "pid": 12, "uptime": 3, "restart_count": 0}
    fake_server.json("GET", "/rpc/formations", {"formations": [ITEM], "total": 1, "dev_runs": [run]})
    assert main.run(["formation", "list"]) == 0
    _, live, dev = capsys.readouterr().out.splitlines()
    assert live.split()[:4] == ["my-agent", "running", "1.2.0", "8001"]
    assert dev.split()[:6] == ["my-agent", "running", "dev", "8002", "12", "3s"]


def test_an_empty_list_says_what_next_and_prints_nothing(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_server.json("GET", "/rpc/formations", {"formations": [], "total": 0})
    assert main.run(["formation", "list", "--status", "crashed"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "formation deploy" in captured.err
    assert fake_server.seen[0].path == "/rpc/formations?status=crashed"


@pytest.mark.parametrize(
    ("argv", "path", "data"),
    [
        (["list"], "/rpc/formations", {"formations": [ITEM], "total": 1}),
        (["get", "my-agent"], "/rpc/formations/my-agent", ITEM),
        (["logs", "my-agent"], "/rpc/formations/my-agent/logs", {"logs": {"stdout": ["x"], "stderr": None}}),
    ],
)
def test_as_json_the_answer_is_passed_on(
    argv: list[str], path: str, data: object, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_server.json("GET", path, data)
    assert main.run(["formation", *argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == data


def test_get_shows_why(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    last_exit = {"status": None, "signal": "SIGKILL", "description": "killed by SIGKILL"}
    fake_server.json("GET", "/rpc/formations/my-agent", {**ITEM, "last_exit": last_exit})
    assert main.run(["formation", "get", "my-agent"]) == 0
    out = capsys.readouterr().out
    for line in (
        "Restarts:   2",
        "Reason:     restarted after",
        "Last exit:  killed by SIGKILL",
        "Version:    1.2.0",
        "Runtime:    muxi-python 1.20260928.0 (the first that is present)",
        "Memory:     118M",
        "CPU time:   1.25s",
        "Processes:  3",
        "Threads:    12",
        "Open files: 30",
    ):
        assert line in out
    assert f"http://127.0.0.1:{fake_server.port}/api/my-agent" in out
    assert "Crash loop" not in out


def test_get_shows_what_is_special(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    special = {"crash_loop": True, "adopted": True, "depends_on": ["store", "search"]}
    fake_server.json("GET", "/rpc/formations/my-agent", {**ITEM, **special})
    assert main.run(["formation", "get", "my-agent"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("Crash loop: yes", "Adopted: yes", "Depends on: store, search"):
        assert words in out


@pytest.mark.parametrize(
    "argv", [["get"], ["stop"], ["start"], ["restart"], ["delete"], ["logs"], ["logs", "-f"]]
)
def test_an_unknown_formation_is_told_in_the_server_s_words(
    argv: list[str], fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["formation", *argv, "no-such"]) == 1
    assert capsys.readouterr().err == "Error: Formation not found\n"
    assert "/no-such" in fake_server.seen[0].path


@pytest.mark.parametrize("action", ["start", "restart"])
def test_start_and_restart_are_followed(
    action: str, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_server.events("POST", f"/rpc/formations/my-agent/{action}", *STAGES, COMPLETE)
    assert main.run(["formation", action, "my-agent"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"my-agent is {action}ed."
    assert main.run(["formation", action, "my-agent", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == COMPLETE[1]


@pytest.mark.parametrize(
    ("argv", "method", "path", "done"),
    [
        (["stop"], "POST", "/rpc/formations/my-agent/stop", "my-agent is stopped."),
        (["delete", "--yes"], "DELETE", "/rpc/formations/my-agent", "my-agent is deleted."),
        (["delete"], "DELETE", "/rpc/formations/my-agent", "my-agent is deleted."),
    ],
)
def test_stop_and_delete(
    *,
    argv: list[str],
    method: str,
    path: str,
    done: str,
    fake_server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    fake_server.json(method, path, {"id": "my-agent"})
    assert main.run(["formation", *argv, "my-agent"]) == 0
    assert capsys.readouterr().out == f"{done}\n"
    assert fake_server.routes() == [(method, path)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code", "requests"), [("n\n", 130, 0), ("y\n", 0, 1)])
def test_delete_asks_a_person_first(
    answer: str, code: int, requests: int, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: answer.strip())
    fake_server.json("DELETE", "/rpc/formations/my-agent", {"id": "my-agent"})
    assert main.run(["formation", "delete", "my-agent"]) == code
    assert len(fake_server.seen) == requests


def test_logs_go_to_the_stream_they_came_from(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = {"stdout": ["one", "two\tthree"], "stderr": ["bad"]}
    fake_server.json("GET", "/rpc/formations/my-agent/logs", {"formation_id": "my-agent", "logs": logs})
    assert main.run(["formation", "logs", "my-agent", "-n", "5", "--stream", "all"]) == 0
    assert capsys.readouterr() == ("one\ntwo\tthree\n", "bad\n")
    assert fake_server.seen[0].path.endswith("/logs?lines=5&stream=all")
    assert main.run(["formation", "logs", "my-agent", "--dev"]) == 0
    assert fake_server.seen[1].path.endswith("/logs?lines=100&stream=all&draft=true")


def test_following_prints_lines_until_the_server_ends_it(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[tuple[str, dict[str, object]]] = [
        ("connected", {"formation_id": "my-agent"}),
        ("log", {"stream": "stdout", "line": "one"}),
        ("log", {"stream": "stderr", "line": "two"}),
    ]
    fake_server.events("GET", "/rpc/formations/my-agent/logs", *events)
    assert main.run(["formation", "logs", "-f", "my-agent"]) == 1
    out, err = capsys.readouterr()
    assert out == "one\n"
    assert err.startswith("two\nError: The server ended the log stream.")
    assert "follow=true" in fake_server.seen[0].path
    assert main.run(["formation", "logs", "-f", "my-agent", "--json"]) == 1
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        data for _, data in events[1:]
    ]


def test_following_ends_well_when_the_formation_is_deleted(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_server.events(
        "GET",
        "/rpc/formations/my-agent/logs",
        ("connected", {"formation_id": "my-agent"}),
        ("log", {"stream": "stdout", "line": "last words"}),
        ("end", {"reason": "deleted", "message": "The formation was deleted."}),
    )
    assert main.run(["formation", "logs", "-f", "my-agent"]) == 0
    assert capsys.readouterr() == ("last words\n", "The formation was deleted.\n")


def test_status_shows_server_formations_and_ports(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    status = {
        "server": {"server_id": "server-x", "version": "1.0", "uptime": 3700},
        "formations": {"total": 2, "running": 1},
        "ports": {"range": "8000-8999", "available": 998},
        "limits": {"memory": "cgroup v2", "open_files": "rlimit", "note": ""},
    }
    fake_server.json("GET", "/health", {"status": "ok"})
    fake_server.json("GET", "/rpc/server/status", status)
    listed = [{"id": "bot", "runtime": {"name": "native", "version": "", "reason": "nothing else"}}]
    fake_server.json("GET", "/rpc/formations", {"formations": listed})
    assert main.run(["status"]) == 0
    out = capsys.readouterr().out
    for line in (
        "Status:  ok",
        "Uptime:  1h 1m",
        "Running: 1",
        "Range:     8000-8999",
        "Memory:     cgroup v2",
        "bot: native (nothing else)",
    ):
        assert line in out
    assert "Note" not in out
    assert main.run(["status", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["server"] == status["server"]
    assert value["health"] == {"status": "ok"}
    assert value["runs_on"] == {"bot": "native (nothing else)"}


def test_no_server_is_told_with_the_way_to_start_one(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as bound:  # taken, but nobody listens
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        installation.configure(port)
        assert main.run(["status"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"Error: No MUXI server answers at http://127.0.0.1:{port}.",
        "What to do: Start one with: muxi-server start",
    ]


def test_a_wrong_clock_is_told_as_the_server_puts_it(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_server.refuse(
        "GET", "/rpc/formations", 401, "Request timestamp expired", cure="Set the clock; it is 400 s behind."
    )
    assert main.run(["formation", "list"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "What to do: Set the clock; it is 400 s behind."
