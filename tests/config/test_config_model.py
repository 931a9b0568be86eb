"""The declarations: complete, consistent with themselves, and safe to print."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from muxi.config.model import Config, KeyPair, Paths, defaults, reference, with_absolute_paths
from muxi.config.schema import Declaration, declarations

ROOT = Path("/srv/muxi")
PATHS = Paths(ROOT / "etc", ROOT / "data", ROOT / "log", ROOT / "cache", ROOT / "etc" / "config.yaml")

# processes.md 2.3 and 9: every key that a file of the original or its documents may hold.
KNOWN_BEFORE = """
server_id server.port server.host server.read_timeout server.write_timeout server.idle_timeout
auth.enabled auth.key auth.secret auth.keys auth.timestamp_tolerance
formations.runtime_type formations.logs_dir formations.pids_dir formations.formations_dir
formations.port_range formations.port_range_start formations.port_range_end formations.bind_host
formations.max_formations formations.keep_backups formations.auto_restart formations.max_restarts
formations.restart_delay formations.health_check_interval formations.health_check_timeout
formations.startup_health_delay formations.startup_timeout formations.unhealthy_threshold
formations.deployment.health_check.enabled formations.deployment.health_check.endpoint
formations.deployment.health_check.timeout formations.deployment.health_check.interval
formations.deployment.health_check.max_retries formations.deployment.force_kill_timeout
formations.deployment.staging_health_delay formations.log_rotation_enabled formations.log_max_size
formations.log_max_files formations.default_memory formations.max_memory
runtime.sif_base_url runtime.runtime_runner_image runtime.auto_download runtime.version
rce.port rce.auth_token rce.data_dir logging.level logging.format logging.output logging.audit_log
"""


def test_every_key_that_exists_is_declared() -> None:
    assert set(KNOWN_BEFORE.split()) <= {row.key for row in reference()}


def test_every_row_of_the_reference_is_whole() -> None:
    rows = reference()
    assert len({row.key for row in rows}) == len(rows)
    for row in rows:
        assert row.type
        assert row.allowed
        assert row.doc.endswith(".")


WRITABLE = [one for one in declarations(Config) if one.default not in ("", ())]


@pytest.mark.parametrize("declaration", WRITABLE, ids=[one.name for one in WRITABLE])
def test_a_written_default_reads_as_the_default(declaration: Declaration) -> None:
    kind = declaration.key.kind
    assert kind.parse(kind.show(declaration.default)) == declaration.default


def test_neighbours_that_explain_a_false_exist() -> None:
    names = {declaration.name for declaration in declarations(Config)}
    for name, _, key in declarations(Config):
        parent = name.rpartition(".")[0]
        assert {f"{parent}.{neighbour}" for neighbour in key.unset_with} <= names


def test_no_secret_has_a_default_in_the_reference() -> None:
    assert {
        row.key for row in reference() if row.key in {"auth.keys", "rce.auth_token"} and row.default
    } == set()


def test_defaults_have_absolute_paths() -> None:
    config = defaults(PATHS)
    assert config.formations.logs_dir == ROOT / "data" / "logs"
    assert config.logging.audit_log == ROOT / "data" / "logs" / "audit.log"
    assert with_absolute_paths(config) == config


def test_a_configuration_can_not_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        defaults(PATHS).server.port = 1  # type: ignore[misc]


def test_the_secret_of_a_pair_is_not_in_its_repr() -> None:
    assert repr(KeyPair("an-id", "CANARY")) == "KeyPair(id='an-id')"
