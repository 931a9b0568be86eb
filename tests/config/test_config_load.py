"""Precedence, shapes and notes: what a right configuration becomes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.config.load import Loaded, load
from muxi.config.model import KeyPair, Paths, defaults
from muxi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

PAIR = KeyPair("test-key", "0123456789abcdef")
FILE = "server: {port: 1111, host: 10.0.0.1}\nlogging: {level: debug}\nauth: {enabled: false}\n"


@dataclass(frozen=True)
class Place:
    """A configuration directory of one's own, and the loading of a text in it."""

    paths: Paths

    def load(
        self,
        text: str | bytes | None = None,
        environment: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
        *,
        require_key: bool = False,
    ) -> Loaded:
        if text is not None:
            self.paths.config_file.write_bytes(text if isinstance(text, bytes) else text.encode())
            self.paths.config_file.chmod(0o600)
        return load(self.paths, environment=environment, flags=flags, require_key=require_key)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    etc, data = tmp_path / "etc", tmp_path / "data"
    etc.mkdir()
    return Place(Paths(etc, data, tmp_path / "log", data / "cache", etc / "config.yaml"))


def test_no_file_is_all_defaults(place: Place) -> None:
    assert place.load() == (defaults(place.paths), ())


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "server:\nauth:\n", "server_id:\n", "\ufeffserver_id: ''\n"]
)
def test_an_empty_file_is_all_defaults(place: Place, text: str) -> None:
    assert place.load(text).config == defaults(place.paths)


def test_the_defaults_are_safe(place: Place) -> None:
    config = place.load().config
    assert config.auth.enabled
    assert (config.server.host, config.server.port) == ("0.0.0.0", 7890)
    assert config.formations.bind_host == "127.0.0.1"
    assert config.formations.port_range == (8000, 9000)


def test_file_over_defaults(place: Place) -> None:
    config = place.load(FILE).config
    assert (config.server.port, config.server.host) == (1111, "10.0.0.1")
    assert (config.logging.level, config.auth.enabled) == ("debug", False)


def test_environment_over_file(place: Place) -> None:
    environment = {
        "MUXI_PORT": "2222",
        "MUXI_HOST": "10.0.0.2",
        "MUXI_AUTH_ENABLED": "true",
        "MUXI_LOG_LEVEL": "WARN",
        "MUXI_PORT_START": "9100",
        "MUXI_PORT_END": "9200",
        "MUXI_RUNTIME_TYPE": "docker",
        "MUXI_SOMETHING_ELSE": "x",
    }
    config = place.load(FILE, environment).config
    assert (config.server.port, config.server.host) == (2222, "10.0.0.2")
    assert (config.auth.enabled, config.logging.level) == (True, "warning")
    assert config.formations.port_range == (9100, 9200)
    assert config.formations.runtime_type == "docker"


def test_flags_over_environment(place: Place) -> None:
    loaded = place.load(
        FILE, {"MUXI_PORT": "2222", "MUXI_LOG_LEVEL": "error"}, {"server.port": 0, "logging.level": None}
    )
    assert (loaded.config.server.port, loaded.config.logging.level) == (0, "error")


def test_the_shorter_variable_wins_over_the_old_one(place: Place) -> None:
    old = {"MUXI_SERVER_PORT": "3333", "MUXI_SERVER_HOST": "10.0.0.3"}
    assert place.load(FILE, old).config.server.port == 3333
    both = place.load(FILE, {"MUXI_PORT": "2222", "MUXI_HOST": "::1", **old}).config.server
    assert (both.port, both.host) == (2222, "::1")


def test_an_empty_variable_is_not_set(place: Place) -> None:
    assert place.load(FILE, {"MUXI_PORT": ""}).config.server.port == 1111


def test_one_end_of_the_range_from_each_source(place: Place) -> None:
    text = "formations: {port_range: [8100, 8200]}"
    assert place.load(text, {"MUXI_PORT_END": "8300"}).config.formations.port_range == (8100, 8300)


@pytest.mark.parametrize(
    "text",
    [
        "formations: {port_range: [8100, 8200]}",
        "formations:\n  port_range:\n    - 8100\n    - 8200\n",
        "formations: {port_range: 8100-8200}",
        "formations: {port_range_start: 8100, port_range_end: 8200}",
        "formations: {port_range: [8100, 8200], port_range_start: 8100, port_range_end: 0}",
    ],
)
def test_all_ways_to_write_a_port_range(place: Place, text: str) -> None:
    assert place.load(text).config.formations.port_range == (8100, 8200)


def test_ports_up_to_the_last_one(place: Place) -> None:
    assert place.load("formations: {port_range: [1024, 65536]}").config.formations.port_range == (1024, 65536)


@pytest.mark.parametrize(
    "text",
    [
        "auth: {keys: [{id: test-key, secret: 0123456789abcdef}]}",
        "auth: {key: test-key, secret: 0123456789abcdef}",
        "auth: {key: test-key, secret: 0123456789abcdef, keys: [{id: test-key, secret: 0123456789abcdef}]}",
        "auth: {key: '', secret: '', keys: [{id: ' test-key ', secret: '0123456789abcdef'}]}",
    ],
)
def test_all_ways_to_write_a_key(place: Place, text: str) -> None:
    assert place.load(text, require_key=True).config.auth.keys == (PAIR,)


def test_a_secret_of_digits_stays_the_text_it_is(place: Place) -> None:
    text = "auth: {key: 0x1234, secret: 00000000000000001e5}"
    assert place.load(text).config.auth.keys == (KeyPair("0x1234", "00000000000000001e5"),)


def test_several_keys_in_order(place: Place) -> None:
    text = "auth:\n  key: key-a\n  secret: aaaaaaaaaaaaaaaa\n  keys:\n"
    text += "    - {id: key-b, secret: bbbbbbbbbbbbbbbb}\n    - {id: key-c, secret: cccccccccccccccc}\n"
    assert [pair.id for pair in place.load(text).config.auth.keys] == ["key-a", "key-b", "key-c"]


def test_durations_and_sizes_in_all_spellings(place: Place) -> None:
    text = """
server: {read_timeout: 1m, write_timeout: 500ms, idle_timeout: 90}
auth: {timestamp_tolerance: 300}
formations:
  restart_delay: 1s
  startup_timeout: 2m
  log_max_size: 10M
  bundle: {max_file_size: 1GiB, max_total_size: 2048MB, max_upload_size: 1048576}
proxy: {max_head_size: 64K}
"""
    config = place.load(text).config
    assert (config.server.read_timeout, config.server.write_timeout, config.server.idle_timeout) == (
        60,
        0.5,
        90,
    )
    assert config.formations.startup_timeout == config.formations.deployment.health_check.timeout == 120
    assert config.formations.bundle.max_file_size == 1024**3
    assert config.formations.bundle.max_total_size == 2 * 1024**3
    assert config.proxy.max_head_size == 65536


@pytest.mark.parametrize("other", ["60", "1m", "60s", "0"])
def test_two_names_that_agree_are_right(place: Place, other: str) -> None:
    text = f"formations: {{startup_timeout: 60s, deployment: {{health_check: {{timeout: {other}}}}}}}"
    assert place.load(text).config.formations.startup_timeout == 60


def test_relative_paths_begin_in_the_data_directory_absolute_ones_stay(place: Place) -> None:
    config = place.load(
        "formations: {logs_dir: my-logs, formations_dir: /srv/formations}\n"
        "logging: {audit_log: audit/log.jsonl, output: server.log}"
    ).config
    data = place.paths.data_dir
    assert config.formations.logs_dir == data / "my-logs"
    assert config.formations.pids_dir == data / "pids"
    assert config.formations.formations_dir == Path("/srv/formations")
    assert config.logging.audit_log == data / "audit" / "log.jsonl"
    assert config.logging.output == data / "server.log"


def test_logging_output_file_is_in_the_log_directory(place: Place) -> None:
    assert place.load("logging: {output: file}").config.logging.output == place.paths.log_dir / "server.log"
    assert place.load("logging: {output: stdout}").config.logging.output == "stdout"


def test_yaml_aliases_are_values_like_others(place: Place) -> None:
    text = "server: {host: &here 127.0.0.1}\nformations: {bind_host: *here}\n"
    assert place.load(text).config.formations.bind_host == "127.0.0.1"


def test_pending_keys_are_noted_when_they_differ_from_their_default(place: Place) -> None:
    notes = place.load(
        "formations:\n  pids_dir: elsewhere\n  log_max_files: 10\n  runtime_type: native\n"
    ).notes
    words = "is accepted for compatibility; it has no effect in this version"
    assert notes == (f"config.yaml:2: formations.pids_dir {words}",)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "agents.example.com"])
def test_a_server_without_signatures_in_the_open_is_noted(place: Place, host: str) -> None:
    (note,) = place.load(f"auth: {{enabled: false}}\nserver: {{host: '{host}'}}").notes
    assert note.startswith(f"auth.enabled is false and the server listens on {host}: ")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST."])
def test_a_server_without_signatures_on_loopback_is_not_noted(place: Place, host: str) -> None:
    assert place.load(f"auth: {{enabled: false}}\nserver: {{host: '{host}'}}").notes == ()


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_secrets_that_others_can_read_are_noted(place: Place) -> None:
    place.load("auth: {key: test-key, secret: 0123456789abcdef}")
    place.paths.config_file.chmod(0o644)
    (note,) = place.load().notes
    assert "others may open it (mode 0644); run: chmod 600" in note
    place.paths.config_file.write_text("server_id: no-secret-here\n")
    assert place.load().notes == ()


def test_no_secret_is_in_the_repr_or_the_notes(place: Place) -> None:
    text = "auth: {keys: [{id: key-1, secret: CANARY-0123456789}]}\nrce: {auth_token: CANARY-token}\n"
    loaded = place.load(text)
    assert loaded.config.auth.keys[0].secret == "CANARY-0123456789"
    assert "CANARY" not in repr(loaded)


AS_THE_ORIGINAL_INIT_WRITES_IT = """\
server_id: server-build7-0a1b2c3d
server:
    port: 7890
    host: 0.0.0.0
auth:
    enabled: true
    key: muxi_pk_00112233445566778899aabb
    secret: muxi_sk_00112233445566778899aabbccddeeff00112233445566778899aabb
    timestamp_tolerance: 300
formations:
    runtime_type: ""
    logs_dir: ""
    pids_dir: ""
    formations_dir: ""
    port_range_start: 8000
    port_range_end: 9000
    bind_host: ""
    max_formations: 0
    keep_backups: 0
    auto_restart: false
    max_restarts: 0
    restart_delay: 0
    health_check_interval: 0
    health_check_timeout: 0
    startup_health_delay: 0
    deployment:
        health_check:
            enabled: false
            endpoint: ""
            timeout: 0
            interval: 0
            max_retries: 0
        force_kill_timeout: 0
        staging_health_delay: 0
    log_rotation_enabled: false
    log_max_size: ""
    log_max_files: 0
runtime:
    sif_base_url: ""
    runtime_runner_image: ""
rce:
    port: 7891
    auth_token: rce_0011223344556677
    data_dir: ""
logging:
    level: ""
    audit_log: ""
"""


def test_the_zeros_of_the_original_init_are_defaults(place: Place) -> None:
    loaded = place.load(AS_THE_ORIGINAL_INIT_WRITES_IT, require_key=True)
    formations = loaded.config.formations
    health = replace(formations.deployment.health_check, timeout=60.0)
    formations = replace(formations, deployment=replace(formations.deployment, health_check=health))
    assert formations == defaults(place.paths).formations
    assert loaded.config.logging == defaults(place.paths).logging
    assert loaded.config.auth.timestamp_tolerance == 300


def test_the_zero_timeout_of_the_original_init_is_its_five_minutes(place: Place) -> None:
    assert place.load(AS_THE_ORIGINAL_INIT_WRITES_IT).config.formations.startup_timeout == 300


def test_nothing_that_the_original_init_sets_is_without_effect(place: Place) -> None:
    assert place.load(AS_THE_ORIGINAL_INIT_WRITES_IT).notes == ()


@pytest.mark.parametrize(
    "text",
    [
        "formations: {auto_restart: false}",
        "formations: {auto_restart: false, max_restarts: 0}",
        "formations: {auto_restart: false, max_restarts: 5, restart_delay: 0}",
    ],
)
def test_a_false_without_zeros_all_around_is_meant(place: Place, text: str) -> None:
    assert place.load(text).config.formations.auto_restart is False


@pytest.mark.parametrize("more", ["", ", log_max_size: 0", ", log_max_size: 0, log_max_files: 5"])
def test_rotation_is_off_only_when_that_is_meant(place: Place, more: str) -> None:
    formations = place.load(f"formations: {{log_rotation_enabled: false{more}}}").config.formations
    assert formations.log_rotation_enabled is False
    assert formations.log_max_size == 10 * 1024 * 1024


def test_a_health_check_is_switched_off_only_on_purpose(place: Place) -> None:
    text = "formations: {deployment: {health_check: {enabled: false, timeout: 10}}}"
    assert place.load(text).config.formations.deployment.health_check.enabled is False


def test_tls_files_begin_in_the_data_directory_and_a_key_needs_its_certificate(place: Place) -> None:
    tls = place.load("server:\n  tls:\n    cert: tls/cert.pem\n    key: /etc/key.pem\n").config.server.tls
    assert (tls.cert, tls.key) == (place.paths.data_dir / "tls/cert.pem", Path("/etc/key.pem"))
    assert tls.min_version == "1.2"
    with pytest.raises(ConfigError) as caught:
        place.load("server:\n  tls:\n    key: key.pem\n")
    assert "server.tls.key needs server.tls.cert" in caught.value.problems[0]
