"""What is sent: the whole of it, in one place. Pure.

The shape is the original's (processes.md 5.1 there), but for `country`: it was looked up at a
third party's; none is known here, and none is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from muxi.telemetry.totals import USAGE
from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from muxi.telemetry.totals import Numbers

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """What is so at the moment of a report; see `machine.facts`. `uptime` in seconds, `memory` in bytes."""

    version: str
    runtime: str
    uptime: float
    active: int
    ports: int
    ports_allocated: int
    os: str
    arch: str
    cpus: int
    memory: int


def envelope(machine_id: str, at: float, facts: Facts, new: Numbers) -> dict[str, object]:
    """Make a report of what is so now and of what is `new` since the last one. `at` is Unix seconds."""
    return {
        "module": "server",
        "machine_id": machine_id,
        "ts": rfc3339(at),
        "schema_version": SCHEMA_VERSION,
        "payload": payload(facts, new),
    }


def payload(facts: Facts, new: Numbers) -> dict[str, object]:
    """Make the inner part. All numbers are whole."""

    def count(name: str) -> int:
        return round(new.get(name, 0))

    return {
        "server": {
            "version": facts.version,
            "runtime": facts.runtime,
            "uptime_hours": int(facts.uptime // 3600),
            "starts": count("server.starts"),
        },
        "system": {
            "os": facts.os,
            "arch": facts.arch,
            "cpu_cores": facts.cpus,
            "ram_gb": round(facts.memory / 1024**3),
        },
        "formations": {
            "active": facts.active,
            "deployed": count("formations.deployed"),
            "deleted": count("formations.deleted"),
        },
        "deployments": {
            "successful": count("deployments.successful"),
            "failed": count("deployments.failed"),
            "updates": count("deployments.updates"),
            "rollbacks": count("deployments.rollbacks"),
        },
        "health": {
            "auto_restarts": count("health.auto_restarts"),
            "crashes": count("health.crashes"),
            "health_check_failures": count("health.health_check_failures"),
        },
        "requests": {
            "total": count("requests.total"),
            "errors_4xx": count("requests.errors_4xx"),
            "errors_5xx": count("requests.errors_5xx"),
            "avg_latency_ms": _mean_ms(new),
        },
        "usage": {
            name.removeprefix(USAGE): round(value)
            for name, value in sorted(new.items())
            if name.startswith(USAGE) and value
        },
        "resources": {"port_pool_size": facts.ports, "ports_allocated": facts.ports_allocated},
    }


def _mean_ms(new: Numbers) -> int:
    answered = new.get("requests.answered", 0)
    return round(1000 * new.get("requests.seconds", 0) / answered) if answered else 0
