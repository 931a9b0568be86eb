"""The settings of the way in: limits, trusted proxies, defaults for formations."""

# ruff: noqa: RUF001 - ranges are written with the dash that belongs there

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxi.config.load import load
from muxi.config.model import Config, Paths
from muxi.config.proxy import ProxyConfig
from muxi.config.show import as_dict
from muxi.config.values import parse_decimal, parse_networks
from muxi.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def read(directory: Path, text: str) -> Config:
    paths = Paths(directory, directory, directory, directory, directory / "config.yaml")
    paths.config_file.write_text(text)
    paths.config_file.chmod(0o600)
    return load(paths, require_key=False).config


def problems(directory: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(directory, text)
    return "\n".join(caught.value.problems)


def test_without_a_word_there_are_no_limits_but_those_of_the_machine(tmp_path: Path) -> None:
    config = read(tmp_path, "")
    assert config.proxy == ProxyConfig()
    assert (config.server.trusted_proxies, config.server.proxy_protocol) == ((), "off")
    assert config.proxy.max_head_size == 32 * 1024


def test_all_settings_can_be_written(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
server: {proxy_protocol: required, trusted_proxies: [10.0.0.0/8, "::1"]}
proxy:
  max_connections: 5000
  max_connections_per_address: 50
  max_concurrent: 400
  max_concurrent_per_formation: 40
  max_body_size: 100M
  rate: 2.5
  burst: 10
  hold_timeout: 0
  on_disconnect: continue
  cors: false
""",
    )
    assert config.server.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert config.server.proxy_protocol == "required"
    assert config.proxy == ProxyConfig(
        max_connections=5000,
        max_connections_per_address=50,
        max_concurrent=400,
        max_concurrent_per_formation=40,
        max_body_size=100 * 1024**2,
        rate=2.5,
        burst=10,
        hold_timeout=0.0,
        on_disconnect="continue",
        cors=False,
    )


@pytest.mark.parametrize(
    "written",
    ["[10.0.0.0/8, 192.168.1.1]", '"10.0.0.0/8, 192.168.1.1"', "\n    - 10.0.0.0/8\n    - 192.168.1.1"],
)
def test_a_list_in_any_spelling(tmp_path: Path, written: str) -> None:
    config = read(tmp_path, f"server:\n  trusted_proxies: {written}\n")
    assert config.server.trusted_proxies == ("10.0.0.0/8", "192.168.1.1/32")
    assert as_dict(config)["server"]["trusted_proxies"] == ["10.0.0.0/8", "192.168.1.1/32"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server: {trusted_proxies: [10.0.0.1/8]}", "did you mean 10.0.0.0/8?"),
        ("server: {trusted_proxies: [example.com]}", '"example.com" is not a network'),
        ("server: {trusted_proxies: [[10.0.0.0/8]]}", "a list can't be it"),
        ("server: {trusted_proxies: {a: b}}", "a group of keys can't be it"),
        ("server: {proxy_protocol: optional}", "allowed: off, required"),
        ("server: {trusted_proxy: []}", "did you mean server.trusted_proxies?"),
        ("proxy: {max_connection: 1}", "did you mean proxy.max_connections"),
        ("proxy: {rate: -1}", "allowed: 0–1000000"),
        ("proxy: {max_head_size: 2M}", "allowed: 1K–1M"),
        ("proxy: {on_disconnect: ignore}", "allowed: cancel, continue"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    assert said in problems(tmp_path, text)


def test_a_proxy_protocol_that_nobody_may_speak_is_remarked_on(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path / "config.yaml")
    for trusted, notes in (("[]", 1), ("[10.0.0.0/8]", 0)):
        paths.config_file.write_text(f"server: {{proxy_protocol: required, trusted_proxies: {trusted}}}")
        loaded = load(paths, require_key=False)
        assert sum("server.trusted_proxies" in note for note in loaded.notes) == notes


def test_networks_are_told_apart_and_written_once() -> None:
    assert parse_networks("") == ()
    assert parse_networks(" ::1 , 10.0.0.0/8,::1,") == ("::1/128", "10.0.0.0/8")


@pytest.mark.parametrize(("written", "value"), [("2", 2.0), (" 0.5 ", 0.5), ("0", 0.0), ("10", 10.0)])
def test_numbers(written: str, value: float) -> None:
    assert parse_decimal(written, 0, 10) == value


@pytest.mark.parametrize("written", ["", "x", "-1", "1e3", "10.1", "nan", "inf", "1_0", "9" * 50])
def test_no_numbers(written: str) -> None:
    with pytest.raises(ValueError, match="allowed: 0–10"):
        parse_decimal(written, 0, 10)
