"""The configuration is read again while the server runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import trustme

from muxi.auth.scheme import authorization_header
from tests.integration.outside import configure, deployed, muxi, until
from tests.live import KEY, SECRET, running
from tests.program import needs_source

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live import LiveServer

NEW_SECRET = "muxi_sk_" + "01234567" * 7


def rewrite(server: LiveServer, *changes: tuple[str, str]) -> None:
    path = server.directory / "config" / "config.yaml"
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)


def status_code(server: LiveServer, secret: str) -> int:
    header = authorization_header(KEY, secret, "GET", "/rpc/formations", int(time.time()))
    return server.get("/rpc/formations", Authorization=header).status_code


def test_what_can_change_does_and_what_cannot_is_named(tmp_path: Path) -> None:
    with running(tmp_path, "proxy: {hold_timeout: 1s}") as server:
        deployed(server, "limited")
        assert server.client.post(f"{server.url}/api/limited/x", content=b"12345").status_code == 200
        rewrite(
            server,
            (SECRET, NEW_SECRET),
            ("level: info", "level: debug"),
            ("hold_timeout: 1s", "max_body_size: 4"),
            ("host: 127.0.0.1, port: 0", "host: 127.0.0.1, port: 1, idle_timeout: 7s"),
        )
        done = muxi(tmp_path, "config", "reload", "--json")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["ok"] is True
        assert set(answer["changed"]) == {
            "auth.keys",
            "logging.level",
            "proxy.hold_timeout",
            "proxy.max_body_size",
            "server.idle_timeout",
        }
        assert answer["pending"] == ["server.port"]
        assert (status_code(server, SECRET), status_code(server, NEW_SECRET)) == (401, 200)
        assert server.client.post(f"{server.url}/api/limited/x", content=b"12345").status_code == 413
        assert server.get("/health").status_code == 200
        until(lambda: any(entry.get("level") == "debug" for entry in server.log), "debug is logged")
        server.secret = NEW_SECRET
        found = server.rpc("GET", "/rpc/server/status").json()["data"]
        assert found["proxy"]["limits"]["idle_timeout"] == 7
        assert found["server"]["last_reload"]["pending"] == ["server.port"]
        assert not any(NEW_SECRET in str(entry) for entry in server.log)
        told = [entry for entry in server.log if entry.get("event") == "setting not changed"]
        assert [entry["setting"] for entry in told] == ["server.port"]
        assert "SIGUSR2" in str(told[0]["reason"])


def test_one_with_faults_changes_nothing_and_lists_them(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        rewrite(
            server, (SECRET, NEW_SECRET), ("restart_delay:", "restart_dleay:"), ("level: info", "level: x")
        )
        done = muxi(tmp_path, "config", "reload")
        assert done.returncode == 1
        assert "restart_dleay" in done.stderr
        assert "logging.level" in done.stderr
        assert "Traceback" not in done.stderr
        assert (status_code(server, SECRET), status_code(server, NEW_SECRET)) == (200, 401)


def test_certificates_that_can_t_be_used_change_nothing(tmp_path: Path) -> None:
    pem = tmp_path / "good.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    configure(tmp_path, {"server": {"tls": {"cert": str(pem)}}})
    with running(tmp_path) as server:
        rewrite(server, ("level: info", "level: debug"), (str(pem), "missing.pem"))
        done = muxi(tmp_path, "config", "reload", "--json")
        assert done.returncode == 1
        assert any("missing.pem" in problem for problem in json.loads(done.stdout)["problems"])
        refused = next(e for e in server.log if e.get("event") == "reload refused, nothing has changed")
        assert "missing.pem" in str(refused["reason"])
        assert not any(entry.get("level") == "debug" for entry in server.log)
        assert server.terminate() == 0


def test_requests_and_streams_go_on(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        deployed(server, "streams")
        pid = server.formation("streams")["pid"]
        with server.client.stream("GET", f"{server.url}/api/streams/stream") as answer:
            pieces = answer.iter_raw()  # closes the stream when it is let go
            assert next(pieces) == b"data: 1\n\n"
            assert muxi(tmp_path, "config", "reload").stdout == "Nothing in it has changed.\n"
            assert server.get("/api/streams/x").json() == {"pid": pid}
            assert server.rpc("GET", "/rpc/server/status").json()["data"]["proxy"]["requests"] == 1


def test_many_signals_at_once_end_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        for _ in range(20):
            server.process.send_signal(signal.SIGHUP)
        until(lambda: any(e.get("event") == "configuration reloaded" for e in server.log), "it is reloaded")
        assert server.get("/ping").text == "pong"


def test_without_a_server_there_is_nobody_to_ask(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    for command in (["config", "reload"], ["upgrade", "--restart", "--no-download"]):
        done = muxi(tmp_path, *command)
        assert done.returncode == 1
        assert f"No server runs on the data directory {tmp_path / 'data'}" in done.stderr


def test_a_lock_file_that_nobody_holds_leads_to_no_signal(tmp_path: Path) -> None:
    """The pid in it may be anybody's by now."""
    with running(tmp_path) as server:
        pass
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (server.data / "server.lock").write_text(f"{bystander.pid}\n")
        assert muxi(tmp_path, "config", "reload").returncode == 1
    finally:
        bystander.communicate(b"\n")
    assert bystander.returncode == 0


@needs_source
def test_upgrade_of_what_is_no_single_file_says_what_to_do_instead(tmp_path: Path) -> None:
    done = muxi(tmp_path, "upgrade")
    assert done.returncode == 1
    assert "not installed as one file" in done.stderr
    assert "--restart" in done.stderr
