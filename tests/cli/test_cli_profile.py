from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from muxi.auth.credentials import KeyPair
from muxi.cli import main, profile
from muxi.cli.profile import changed
from muxi.config.load import load
from muxi.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Installation

KEY = KeyPair("muxi_pk_" + "ab" * 12, "muxi_sk_" + "cd" * 28)
URL = "http://localhost:7890"
NOW = 1_800_000_000.0
ENTRY = {"url": URL, "key_id": KEY.id, "secret_key": KEY.secret, "added_at": "2027-01-15T08:00:00Z"}


def read(text: str) -> dict[str, Any]:
    value = yaml.load(text, Loader=yaml.BaseLoader)
    assert isinstance(value, dict)
    return value


def test_a_new_file_names_the_server_under_both_spellings_of_the_default() -> None:
    text = changed("", URL, KEY, NOW)
    assert read(text) == {
        "version": "1.0",
        "default": "localhost",
        "default_profile": "localhost",
        "profiles": {"localhost": ENTRY},
    }
    assert 'version: "1.0"' in text


PEOPLES = """\
# mine, by hand
version: "1.0"
default_profile: prod   # never touch
profiles:
  # far away
  prod: {url: "https://prod.example.com", key_id: k, secret_key: s, note: 'a "b"'}
colour: blue
"""


def test_comments_unknown_keys_and_the_default_stay() -> None:
    text = changed(PEOPLES, URL, KEY, NOW)
    assert all(line in text.splitlines() for line in PEOPLES.splitlines())
    value = read(text)
    assert value["profiles"].pop("localhost") == ENTRY
    assert value == read(PEOPLES)


@pytest.mark.parametrize(
    ("text", "defaults"),
    [
        ("default: prod\n", {"default": "prod"}),
        ("default: ''\n", {"default": "localhost"}),
        ("default_profile:\n", {"default_profile": "localhost"}),
        ("default: ''\ndefault_profile: x\n", {"default": "", "default_profile": "x"}),
        ("a: 1\n", {"default": "localhost", "default_profile": "localhost"}),
    ],
)
def test_the_default_is_set_only_where_there_is_none(text: str, defaults: dict[str, str]) -> None:
    value = read(changed(text, URL, KEY, NOW))
    assert {name: value[name] for name in ("default", "default_profile") if name in value} == defaults
    assert value["profiles"]["localhost"] == ENTRY


def test_one_that_is_right_stays_byte_for_byte() -> None:
    text = changed(PEOPLES, URL, KEY, NOW)
    assert changed(text, URL, KEY, NOW + 1000) == text


def test_one_with_another_key_or_port_is_changed_in_place() -> None:
    text = changed(PEOPLES, URL, KEY, NOW)
    other = changed(text, "http://localhost:7001", KEY, NOW + 60)
    assert read(other)["profiles"]["localhost"] == ENTRY | {
        "url": "http://localhost:7001",
        "added_at": "2027-01-15T08:01:00Z",
    }
    assert len(other.splitlines()) == len(text.splitlines())


@given(st.text(max_size=60))
def test_whatever_the_file_is_it_is_refused_or_the_profile_is_in_it(text: str) -> None:
    try:
        after = changed(text, URL, KEY, NOW)
    except (ValueError, yaml.YAMLError, ConfigError):
        return
    assert read(after)["profiles"]["localhost"]["key_id"] == KEY.id


@pytest.fixture
def command_line(tmp_path: Path) -> Path:
    """Give the file that the command line, which is there, has its profiles in."""
    (tmp_path / ".local" / "bin").mkdir(parents=True)
    (tmp_path / ".local" / "bin" / "muxi").touch()
    return tmp_path / ".muxi" / "cli" / "profiles.yaml"


def init(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main.run(["init", "--json", *arguments]) == 0
    value = json.loads(capsys.readouterr().out)
    assert isinstance(value, dict)
    return value


def test_init_creates_keeps_and_updates_it(
    installation: Installation, command_line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(capsys)["cli_profile"] == "created"
    assert command_line.stat().st_mode & 0o777 == 0o600
    key = load(installation.paths).config.auth.keys[0]
    entry = read(command_line.read_text())["profiles"]["localhost"]
    assert (entry["url"], entry["key_id"], entry["secret_key"]) == (URL, key.id, key.secret)
    assert init(capsys)["cli_profile"] == "unchanged"
    assert init(capsys, "--port", "7011")["cli_profile"] == "updated"
    assert read(command_line.read_text())["profiles"]["localhost"]["url"] == "http://localhost:7011"


def test_init_says_it_in_words(
    installation: Installation, command_line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["init", "--yes"]) == 0
    assert f"localhost in {command_line}: created" in capsys.readouterr().out


def test_without_the_command_line_nothing_is_written(
    installation: Installation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(profile, "is_installed", lambda home: False)
    assert "cli_profile" not in init(capsys)
    assert not (tmp_path / ".muxi" / "cli").exists()


def test_a_damaged_file_is_left_as_it_is(
    installation: Installation, command_line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line.parent.mkdir(parents=True)
    command_line.write_text("profiles: [\n")
    assert init(capsys)["cli_profile"] == "not written"
    assert command_line.read_text() == "profiles: [\n"


def test_a_place_that_can_not_be_written_is_no_failure(
    installation: Installation, command_line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".muxi").write_text("a file where a directory should be")
    assert init(capsys)["cli_profile"] == "not written"


def test_the_address_of_another_profile_is_not_taken_for_the_profile(
    installation: Installation, command_line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line.parent.mkdir(parents=True)
    tunnel = '{url: "http://localhost:9000", key_id: k, secret_key: s}'
    command_line.write_text(f"default: tunnel\nprofiles:\n  tunnel: {tunnel}\n")
    assert init(capsys)["cli_profile"] == "created"
    assert set(read(command_line.read_text())["profiles"]) == {"tunnel", "localhost"}
    assert init(capsys)["cli_profile"] == "unchanged"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such modes")
def test_one_that_others_could_read_is_closed_to_them(
    installation: Installation, command_line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(capsys)["cli_profile"] == "created"
    command_line.chmod(0o644)
    assert init(capsys)["cli_profile"] == "unchanged"
    assert command_line.stat().st_mode & 0o777 == 0o600
