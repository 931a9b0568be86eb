"""The home of one who has used the Go server: its configuration, its registry, an agent updated once."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tests.docs.stages import fresh

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.stages import Stage

# As its `init` writes it, zeros and all.
CONFIG = """\
server_id: server-box-0badcafe
server:
    port: 7890
    host: 0.0.0.0
auth:
    enabled: true
    key: muxi_pk_0123456789abcdef01234567
    secret: muxi_sk_fedcba98fedcba98fedcba98fedcba98fedcba98fedcba98fedcba98
    timestamp_tolerance: 300
formations:
    runtime_type: native
    logs_dir: logs
    pids_dir: pids
    formations_dir: formations
    port_range_start: 8000
    port_range_end: 9000
    bind_host: 127.0.0.1
    max_formations: 0
    keep_backups: 0
    auto_restart: false
    max_restarts: 0
    restart_delay: 0
    deployment:
        health_check:
            enabled: false
            endpoint: /v1/health
            timeout: 0
            interval: 0
            max_retries: 0
logging:
    level: info
    audit_log: logs/audit.log
"""


def original(directory: Path) -> Stage:
    """Make a fresh home, and in it what the Go server leaves."""
    stage = fresh(directory)
    home = directory / ".muxi" / "server"
    releases = home / "formations" / "my-agent"
    for name, version in (("current", "1.1.0"), ("previous", "1.0.0")):
        shutil.copytree(directory / "my-agent", releases / name)
        manifest = releases / name / "formation.afs"
        manifest.write_text(manifest.read_text().replace('version: "1.0.0"', f'version: "{version}"'))
        (releases / name / "MUXI.md").write_text("tuned")
    (releases / "version.json").write_text(json.dumps(_versions()))
    (home / "registry.json").write_text(json.dumps({"version": 1, "formations": [_record()]}))
    (home / "config.yaml").write_text(CONFIG)
    (home / "config.yaml").chmod(0o600)
    return stage


def _versions() -> dict[str, object]:
    return {
        "current_version": 2,
        "previous_version": 1,
        "current": _entry(2, "current"),
        "previous": _entry(1, "previous"),
    }


def _entry(number: int, path: str) -> dict[str, object]:
    deployed = f"2026-03-0{number}T04:05:06Z"
    return {"version": number, "deployed_at": deployed, "bundle_hash": "aa" * 32, "backup_path": path}


def _record() -> dict[str, object]:
    return {
        "id": "my-agent",
        "name": "My Agent",
        "port": 8000,
        "status": "running",
        "version": {"semantic": "1.1.0", "current": "aa" * 32},
        "deployed_at": "2026-03-02T04:05:06Z",
        "restart_count": 0,
    }
