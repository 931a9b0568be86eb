from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from muxi.cli import main
from tests.telemetry.collector import collecting

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import FakeServer, Installation


@pytest.fixture
def file(installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    return tmp_path / ".muxi" / "config.yaml"


def test_disable_and_enable_change_one_line_of_the_users_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.parent.mkdir()
    file.write_text("# mine\nmachine_id: abc\n")
    assert main.run(["telemetry", "disable"]) == 0
    assert file.read_text() == "# mine\ntelemetry: false\nmachine_id: abc\n"
    assert "off" in capsys.readouterr().out
    assert main.run(["telemetry", "enable"]) == 0
    assert file.read_text() == "# mine\ntelemetry: true\nmachine_id: abc\n"
    assert "Telemetry is on" in capsys.readouterr().out


def test_enable_says_what_else_forbids_it(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    assert main.run(["telemetry", "enable"]) == 0
    assert "still off: DO_NOT_TRACK" in capsys.readouterr().out


def test_show_without_a_server_prints_an_empty_report_and_writes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUXI_PORT", "1")
    with collecting() as collector:
        monkeypatch.setenv("TELEMETRY_URL", collector.url)
        assert main.run(["telemetry", "show", "--json"]) == 0
        assert collector.reports == []
    shown = json.loads(capsys.readouterr().out)
    assert (shown["enabled"], shown["url"], shown["server_running"]) == (True, collector.url, False)
    assert shown["report"]["payload"]["requests"]["total"] == 0
    assert not file.exists()


def test_show_prints_the_running_servers_report(
    file: Path, fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    report = {"module": "server", "payload": {"usage": {"GET /rpc/formations": 4}}}
    standing = {"enabled": False, "reason": "because", "url": "https://x/", "file": "f", "report": report}
    fake_server.json("GET", "/rpc/server/telemetry", standing)
    assert main.run(["telemetry", "show"]) == 0
    out = capsys.readouterr().out
    assert "Telemetry: off\nBecause:   because\n" in out
    assert json.loads(out[out.index("{") :]) == report


def test_a_file_that_can_not_be_changed_is_left_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.parent.mkdir()
    file.write_text("telemetry: [\n")
    assert main.run(["telemetry", "disable"]) == 1
    assert "telemetry: false" in capsys.readouterr().err
    assert file.read_text() == "telemetry: [\n"
