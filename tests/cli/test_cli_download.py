from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from muxi.cli import main
from muxi.cli.download import save
from muxi.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import FakeServer

PATH = "/rpc/formations/my-agent/download"


@pytest.fixture
def packed(fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("formation.afs", "id: my-agent")
    fake_server.answers["GET", PATH] = (200, "application/zip", made.getvalue())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return made.getvalue()


def test_it_is_saved_under_the_id(
    packed: bytes, fake_server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["formation", "download", "my-agent"]) == 0
    assert (tmp_path / "here" / "my-agent.zip").read_bytes() == packed
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["my-agent.zip"]
    assert capsys.readouterr().out == f"my-agent.zip: {len(packed)} bytes\n"
    assert fake_server.routes() == [("GET", PATH)]


def test_with_the_database_and_another_name(
    packed: bytes, fake_server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "other.zip")
    assert main.run(["formation", "download", "my-agent", "--db", "-o", target, "--json"]) == 0
    assert fake_server.routes() == [("GET", f"{PATH}?db=true")]
    assert json.loads(capsys.readouterr().out) == {
        "formation_id": "my-agent",
        "file": target,
        "size": len(packed),
    }


def test_a_file_that_is_there_is_not_replaced_without_a_word(
    packed: bytes, fake_server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here" / "my-agent.zip").write_text("mine")
    assert main.run(["formation", "download", "my-agent"]) == 1
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "here" / "my-agent.zip").read_text() == "mine"
    assert fake_server.seen == []
    assert main.run(["formation", "download", "my-agent", "--force"]) == 0
    assert (tmp_path / "here" / "my-agent.zip").read_bytes() == packed


def test_to_standard_output(packed: bytes, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main.run(["formation", "download", "my-agent", "-o", "-"]) == 0
    assert capfdbinary.readouterr().out == packed


def test_who_is_not_there(packed: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["formation", "download", "nobody"]) == 1
    assert "Error: Formation not found" in capsys.readouterr().err
    assert list((tmp_path / "here").iterdir()) == []


def test_half_a_zip_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="not a whole zip"):
        save(iter([b"PK\3\4 and so on"]), tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_one_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Iterator[bytes]:
        yield b"PK"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(interrupted(), tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_releases(fake_server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    kept = [
        {"number": 2, "version": "1.1.0", "current": True, "deployed_at": "2026-01-02T03:04:05.000Z"},
        {"number": 1, "version": "", "current": False, "deployed_at": "2026-01-01T03:04:05.000Z"},
    ]
    fake_server.json("GET", "/rpc/formations/my-agent/releases", {"releases": kept, "total": 2})
    assert main.run(["formation", "releases", "my-agent"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "RELEASE  VERSION  CURRENT  DEPLOYED",
        "2        1.1.0    yes      2026-01-02T03:04:05.000Z",
        "1        -        no       2026-01-01T03:04:05.000Z",
    ]
    assert main.run(["formation", "releases", "my-agent", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["releases"] == kept
