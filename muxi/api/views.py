"""What the API shows of a formation: one shape that holds what every client reads. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from muxi.formation.view import Counts, FormationView, PortUsage, VersionView
    from muxi.process.spec import ExitReport

STATUSES = ("starting", "running", "unhealthy", "stopping", "stopped", "crashed", "restarting")


def formation_item(view: FormationView) -> dict[str, object]:
    """Show a formation, in a list and alone. `port` and `pid` are 0 where there is none."""
    return {
        "id": view.id,
        "name": view.name,
        "status": view.status,
        "port": view.port or 0,
        "pid": view.pid or 0,
        "uptime": view.uptime,
        "restart_count": view.restart_count,
        "healthy": view.healthy,
        "version": _version(view.version),
        "created_at": rfc3339(view.created_at),
        "deployed_at": rfc3339(view.deployed_at),
        "updated_at": rfc3339(view.updated_at),
        "since": rfc3339(view.since),
        "reason": view.reason,
        "next_try_at": _time(view.next_try_at),
        "last_exit": _exit(view.last_exit),
        "operation_id": view.operation_id,
    }


def counts_object(counts: Counts) -> dict[str, int]:
    return {
        "total": counts.total,
        "running": counts.running,
        "stopped": counts.stopped,
        "crashed": counts.crashed,
        "healthy": counts.healthy,
    }


def ports_object(ports: PortUsage) -> dict[str, object]:
    """Show the port range, its text with both ends included: `8000-8999`."""
    return {
        "total": ports.total,
        "allocated": ports.allocated,
        "available": ports.available,
        "range": f"{ports.start}-{ports.end - 1}",
    }


def _version(version: VersionView | None) -> dict[str, object]:
    if version is None:
        return {"semantic": "", "current": "", "previous": ""}
    return {"semantic": version.semantic, "current": version.current, "previous": version.previous or ""}


def _exit(report: ExitReport | None) -> dict[str, object] | None:
    if report is None:
        return None
    return {
        "status": report.status,
        "signal": report.signal_number,
        "expected": report.expected,
        "at": rfc3339(report.at),
        "description": report.describe(),
    }


def _time(seconds: float | None) -> str | None:
    return rfc3339(seconds) if seconds is not None else None
