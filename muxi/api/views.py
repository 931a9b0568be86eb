"""What the API shows of a formation: one shape that holds what every client reads. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from muxi.formation.operation import Operation
    from muxi.formation.view import Counts, DevView, DrainView, FormationView, PortUsage, VersionView
    from muxi.process.spec import ExitReport
    from muxi.process.usage import Usage
    from muxi.registry.traffic import Distribution, TrafficView
    from muxi.runtime.pin import Pin

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
        "crash_loop": view.crash_loop,
        "adopted": view.adopted,
        "depends_on": list(view.depends_on),
        "last_exit": _exit(view.last_exit),
        "operation_id": view.operation_id,
        "drain": drain_object(view.drain),
        "usage": _usage(view.usage),
        "runtime": pin_object(view.runtime),
    }


def dev_item(view: DevView) -> dict[str, object]:
    """Show a directory that runs as it is."""
    return {
        "id": view.id,
        "name": view.name,
        "directory": str(view.directory),
        "watch": view.watch,
        "status": view.status,
        "port": view.port,
        "pid": view.pid or 0,
        "uptime": view.uptime,
        "restart_count": view.restart_count,
        "healthy": view.healthy,
        "since": rfc3339(view.since),
        "reason": view.reason,
    }


def operation_object(operation: Operation) -> dict[str, object]:
    """Show an operation as it stands: `state` is running, succeeded, failed or cancelled."""
    latest, error = operation.latest, operation.error
    state = "running" if not operation.ended else "succeeded"
    if error is not None:
        state = "cancelled" if error.code == "Cancelled" else "failed"
    return {
        "id": operation.id,
        "operation_id": operation.id,
        "formation_id": operation.formation_id,
        "kind": operation.kind,
        "state": state,
        "stage": operation.stage,
        "message": latest.get("message", ""),
        "progress": latest.get("progress"),
        "started_at": rfc3339(operation.started_at),
        "ended_at": _time(operation.ended_at),
        "can_cancel": operation.can_cancel,
        "result": operation.result,
        "error": None if error is None else operation.events[-1].data,
    }


def counts_object(counts: Counts) -> dict[str, int]:
    return {
        "total": counts.total,
        "running": counts.running,
        "stopped": counts.stopped,
        "crashed": counts.crashed,
        "healthy": counts.healthy,
    }


def traffic_object(view: TrafficView | None) -> dict[str, object] | None:
    """Show what a formation's requests came to since the server's start; times in seconds."""
    if view is None:
        return None
    plain = {name: value for name, value in asdict(view).items() if not isinstance(value, dict)}
    return {
        **plain,
        "by_status": view.by_status,
        "first_byte": _distribution(view.first_byte),
        "first_event": _distribution(view.first_event),
        "stream_seconds": _distribution(view.stream_seconds),
    }


def _distribution(times: Distribution) -> dict[str, object]:
    """Show durations by their number, mean, and bounds below which so many of them lie."""
    count = times.count
    shares = {f"p{round(share * 100)}": times.quantile(share) for share in (0.5, 0.9, 0.99)}
    return {"count": count, "mean": round(times.total / count, 6) if count else None, **shares}


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
        "oom": report.oom,
        "at": rfc3339(report.at),
        "description": report.describe(),
    }


def pin_object(pin: Pin | None) -> dict[str, str] | None:
    """Show what a formation runs on, what exactly of it, and why; None while nobody knows."""
    if pin is None:
        return None
    return {"name": pin.runtime, "version": pin.version, "artifact": pin.artifact, "reason": pin.reason}


def drain_object(view: DrainView | None) -> dict[str, int] | None:
    if view is None:
        return None
    return {
        "in_flight": view.in_flight,
        "streams": view.streams,
        "tunnels": view.tunnels,
        "seconds_left": view.seconds_left,
    }


def _usage(usage: Usage | None) -> dict[str, object] | None:
    """Show what its processes use: bytes and seconds. How old that is, `at` tells."""
    if usage is None:
        return None
    return {
        "processes": usage.processes,
        "threads": usage.threads,
        "memory": usage.memory,
        "cpu_seconds": usage.cpu_seconds,
        "open_files": usage.open_files,
        "at": rfc3339(usage.at),
    }


def _time(seconds: float | None) -> str | None:
    return rfc3339(seconds) if seconds is not None else None
