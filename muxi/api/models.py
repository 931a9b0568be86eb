"""The shapes of answers, as types: for the description of the API (`muxi.api.openapi`), and nothing else.

Answers are made by `views` and the handlers; tests hold them to these. More fields than these may
come at any time, and clients are to ignore what they don't know.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Status = Literal["starting", "running", "unhealthy", "stopping", "stopped", "crashed", "restarting"]


class Failure(Struct):
    """What went wrong: in words, and as a code."""

    message: str
    code: int
    error_code: str | None = None
    request_id: str | None = None
    stage: str | None = None
    cure: str | None = None
    details: dict[str, object] | None = None


class Version(Struct):
    semantic: str
    current: str
    previous: str


class Exit(Struct):
    """How a process ended: its exit status, or the signal that killed it."""

    status: int | None
    signal: int | None
    expected: bool
    oom: bool
    at: str
    description: str


class Drain(Struct):
    in_flight: int
    streams: int
    tunnels: int
    seconds_left: int


class Usage(Struct):
    """What all its processes use: bytes and seconds."""

    processes: int
    threads: int | None
    memory: int | None
    cpu_seconds: float | None
    open_files: int | None
    at: str


class Distribution(Struct):
    """Times in seconds; `p50` is a bound below which half of them lie."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None


class Traffic(Struct):
    requests: int
    by_status: dict[str, int]
    bytes_in: int
    bytes_out: int
    in_flight: int
    streams: int
    tunnels: int
    first_byte: Distribution
    first_event: Distribution
    stream_seconds: Distribution


class Runtime(Struct):
    """What a formation runs on, what exactly of it, and why."""

    name: str
    version: str
    artifact: str
    reason: str


class Formation(Struct):
    """`port` and `pid` are 0 where there is none, `uptime` is in seconds."""

    id: str
    name: str
    status: Status
    port: int
    pid: int
    uptime: int
    restart_count: int
    healthy: bool | None
    version: Version
    created_at: str
    deployed_at: str
    updated_at: str
    since: str
    reason: str | None
    next_try_at: str | None
    crash_loop: bool
    adopted: bool
    depends_on: list[str]
    last_exit: Exit | None
    operation_id: str | None
    drain: Drain | None
    usage: Usage | None
    runtime: Runtime | None


class FormationDetail(Formation):
    traffic: Traffic | None


class RunningDirectory(Struct):
    """A directory that runs as it is, under `/draft/{id}`."""

    id: str
    name: str
    directory: str
    watch: bool
    status: Status
    port: int
    pid: int
    uptime: int
    restart_count: int
    healthy: bool | None
    since: str
    reason: str | None


class Formations(Struct):
    """`total` counts `formations`; directories that run as they are stand apart."""

    formations: list[Formation]
    total: int
    dev_runs: list[RunningDirectory]


class Operation(Struct):
    """What is being done to a formation, or was."""

    id: str
    operation_id: str
    formation_id: str
    kind: str
    state: Literal["running", "succeeded", "failed", "cancelled"]
    stage: str
    message: str
    started_at: str
    ended_at: str | None
    can_cancel: bool
    result: dict[str, object] | None
    error: dict[str, object] | None


class Done(Struct):
    """The end of an operation that went well."""

    id: str
    formation_id: str


class Cancelled(Struct):
    """Bare, not in an envelope's `data`, where the original's clients look for its fields."""

    success: bool
    id: str
    formation_id: str
    operation_id: str
    message: str
    status: str
    current_port: int
    staging_port: int


class CancelledOperation(Struct):
    id: str
    formation_id: str
    operation_id: str
    message: str
    status: str


class Logs(Struct):
    formation_id: str
    logs: dict[str, list[str]]
    total_lines: dict[str, int]


class Release(Struct):
    number: int
    version: str
    current: bool
    deployed_at: str
    bundle_hash: str
    content_hash: str


class Releases(Struct):
    formation_id: str
    releases: list[Release]
    total: int


class ChosenRuntime(Struct):
    name: str
    reason: str


class Valid(Struct):
    """What a bundle that can be deployed is, and what it would be."""

    valid: bool
    id: str
    name: str
    version: str
    kind: str
    files: int
    size: int
    content_hash: str
    action: Literal["deploy", "update"]
    runtime: ChosenRuntime


class Ports(Struct):
    total: int
    allocated: int
    available: int
    range: str


class Counts(Struct):
    total: int
    running: int
    stopped: int
    crashed: int
    healthy: int


class ServerFacts(Struct):
    id: str
    server_id: str
    version: str
    uptime: int
    memory: int
    port: int


class RuntimeFacts(Struct):
    type: str
    platform: str
    versions: list[str]


class Presence(Struct):
    """Whether a runtime can be used, which one that is and where; or why it can't be, and the cure."""

    name: str
    available: bool
    preferred: bool
    version: str
    where: str
    problem: str
    cure: str


class FormationRuntime(Struct):
    id: str
    runtime: Runtime | None


class Runtimes(Struct):
    preferred: str
    runtimes: list[Presence]
    formations: list[FormationRuntime]


class ServerStatus(Struct):
    server: ServerFacts
    formations: Counts
    ports: Ports
    port_pool: Ports
    runtime: RuntimeFacts
    runtimes: list[Presence]
    rce: dict[str, object]
    proxy: dict[str, object]
    limits: dict[str, str]


class TelemetryStanding(Struct):
    """Whether anonymous counts are reported, why not, and the next report."""

    enabled: bool
    reason: str | None
    url: str
    file: str
    report: dict[str, object]


class HealthFacts(Struct):
    status: str
    version: str
    uptime: int
    formations: int
    port_pool: Ports


class Health(Struct):
    success: bool
    status: str
    version: str
    data: HealthFacts


class Draft(Struct):
    """`draft` and `live` say how both are after the action; `data` is the action's own."""

    success: bool
    draft: dict[str, object]
    live: dict[str, object]
    data: dict[str, object] | None = None
    error: str | None = None
    message: str | None = None


class DevRun(Struct):
    success: bool
    formation_id: str
    status: str


class Document(Struct):
    openapi: str
    info: dict[str, object]
    paths: dict[str, object]


# What is sent


class BundleBody(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A bundle that is not the body itself: named by an absolute path on the server, or as base64."""

    bundle_path: str | None = None
    bundle: str | None = None
    id: str | None = None
    formation_id: str | None = None
    version: str | None = None
    strategy: Literal["blue-green", "recreate"] | None = None
    force: bool | None = None


class RollbackBody(Struct, forbid_unknown_fields=True, omit_defaults=True):
    release: int | None = None
    version: str | None = None
    strategy: Literal["blue-green", "recreate"] | None = None


class DraftBody(Struct, omit_defaults=True):
    action: Literal["init", "list", "read", "write", "delete", "deploy", "discard"]
    mode: Literal["new", "clone"] | None = None
    path: str | None = None
    content: str | None = None
    encoding: Literal["utf-8", "base64"] | None = None
    require_base: bool | None = None


class DevRunBody(Struct, omit_defaults=True):
    path: str | None = None
    formation_id: str | None = None
    watch: bool | None = None


class DevStopBody(Struct, omit_defaults=True):
    formation_id: str
