"""Every setting of the server: its name, type, default, limits and meaning, declared once.

All durations are float seconds, all sizes int bytes. `muxi.config.load` makes a checked `Config`
with absolute paths; `defaults(paths)` is the same without any file, environment or flag.
"""

# ruff: noqa: RUF009 - `key` and `group` give dataclass fields; their values are immutable

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from muxi.auth.credentials import ALLOWED_ID, ALLOWED_SECRET, KeyPair
from muxi.config.limits import FormationLimits
from muxi.config.proxy import ProxyConfig
from muxi.config.schema import (
    Kind,
    Row,
    boolean,
    choice,
    duration,
    group,
    host,
    integer,
    key,
    networks,
    path,
    rows,
    size,
    text,
    url_path,
)
from muxi.config.values import parse_choice, parse_integer

__all__ = [
    "AuthConfig",
    "BundleLimits",
    "Config",
    "DeploymentConfig",
    "DraftLimits",
    "FormationsConfig",
    "HealthCheckConfig",
    "KeyPair",
    "LivenessConfig",
    "LoggingConfig",
    "Paths",
    "ProxyConfig",
    "RceConfig",
    "RuntimeConfig",
    "ServerConfig",
    "TlsConfig",
    "defaults",
    "reference",
    "with_absolute_paths",
]

K, M, G = 1024, 1024**2, 1024**3
DAY = 86400.0


def _port_range(written: str) -> tuple[int, int]:
    start, _, end = written.strip(" []").replace(",", "-").partition("-")
    return parse_integer(start, 1024, 65535), parse_integer(end, 1025, 65536)


def _log_level(written: str) -> str:
    if written.strip().lower() == "warn":
        return "warning"
    return parse_choice(written, ("debug", "info", "warning", "error"))


def _log_output(written: str) -> str | Path:
    return written if written in {"stderr", "stdout", "file"} else Path(text().parse(written))


def _path_or_none(written: str) -> Path | None:
    return path().parse(written) if written.strip() else None


def _show_path_or_none(value: object) -> str:
    return "" if value is None else str(value)


def _key_pairs(_written: str) -> tuple[KeyPair, ...]:
    raise ValueError("this is not a list of keys; allowed: a list of {id, secret}")


PORT_RANGE: Kind[tuple[int, int]] = Kind(
    "[start, end]",
    "1024 ≤ start < end ≤ 65536",
    _port_range,
    lambda ports: str(list(ports)) if isinstance(ports, tuple) else "",
)
KEYS: Kind[tuple[KeyPair, ...]] = Kind("list of {id, secret}", "any number of pairs", _key_pairs)
# The halves of a single pair are checked together, when both are known.
KEY_ID: Kind[str] = Kind("text", ALLOWED_ID, str.strip)
KEY_SECRET: Kind[str] = Kind("text", ALLOWED_SECRET, str.strip)
OPTIONAL_PATH: Kind[Path | None] = Kind("path", path().allowed, _path_or_none, _show_path_or_none)
_OPTIONAL_URL_PATH: Kind[str] = Kind(
    "path", url_path().allowed, lambda written: url_path().parse(written) if written.strip() else ""
)
LOG_LEVEL: Kind[str] = Kind("choice", "debug, info, warning, error", _log_level)
LOG_OUTPUT: Kind[str | Path] = Kind("choice or path", "stderr, stdout, file, or a path", _log_output)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    cert: Path | None = key(
        None,
        OPTIONAL_PATH,
        "The certificate and those between it and a known authority, as PEM; with it the port speaks HTTPS.",
    )
    min_version: str = key("1.2", choice("1.2", "1.3"), "The oldest version of TLS that is spoken.")
    # The last one: within the class the name is the function's no more.
    key: Path | None = key(
        None, OPTIONAL_PATH, "The certificate's private key, as PEM, unless it is in the same file."
    )


@dataclass(frozen=True, slots=True)
class ServerConfig:
    port: int = key(7890, integer(0, 65535), "The one public port. 0 lets the system choose.", fixed=True)
    host: str = key("0.0.0.0", host(), "The address to listen on.", fixed=True)  # noqa: S104 - it is a server
    read_timeout: float = key(
        30.0, duration(0.1, DAY), "How long a client may take to send a request's head, or pause in its body."
    )
    write_timeout: float = key(60.0, duration(0.1, DAY), "How long a client may take nothing of its answer.")
    idle_timeout: float = key(120.0, duration(0.1, DAY), "How long a connection may stay without a request.")
    trusted_proxies: tuple[str, ...] = key(
        (),
        networks(),
        "Whose X-Forwarded-* and Forwarded fields are believed: the load balancers in front of this server.",
    )
    proxy_protocol: str = key(
        "off",
        choice("off", "required"),
        "Whether connections from `trusted_proxies` begin with a header of the PROXY protocol, v1 or v2.",
    )
    shutdown_timeout: float = key(
        60.0,
        duration(1, DAY),
        "How long ending may take: a sixth of it for requests under way, the rest for formations and saving.",
    )
    upgrade_timeout: float = key(
        30.0,
        duration(0, DAY),
        "How long requests under way may go on, beside new ones, before another program takes over.",
    )
    on_stop: str = key(
        "stop",
        choice("stop", "keep"),
        "What becomes of formations when the server ends: ended, or left running for its next start.",
    )
    workers: int = key(
        1,
        integer(1, 64),
        "How many processes proxy: the one that manages, and others beside it; for more than one core.",
        fixed=True,
    )
    tls: TlsConfig = group(TlsConfig, "HTTPS; both files are read again when they change.")


@dataclass(frozen=True, slots=True)
class AuthConfig:
    enabled: bool = key(True, boolean(), "Whether the management API asks for signatures.")
    keys: tuple[KeyPair, ...] = key(
        (),
        KEYS,
        "The credentials that may manage this server; several, so that they can be exchanged one by one.",
        parts={"key": KEY_ID, "secret": KEY_SECRET},
        secret=True,
    )
    timestamp_tolerance: float = key(
        300.0, duration(1, DAY), "How far a client's clock may be off, either way.", zero=300.0
    )


@dataclass(frozen=True, slots=True)
class HealthCheckConfig:
    enabled: bool = key(
        True,
        boolean(),
        "Whether a formation must answer its health check before it counts as started.",
        unset_with=("timeout", "interval", "max_retries"),
    )
    endpoint: str = key("/v1/health", url_path(), "The path asked, unless the formation names its own.")
    timeout: float = key(
        60.0,
        duration(1, DAY),
        "How long a formation may take to become healthy after its start. 0 in a file means 300s, as ever.",
        zero=300.0,
        aliases=("formations.startup_timeout",),
    )
    interval: float = key(1.0, duration(0.05, 3600), "The pause between two tries while it starts.", zero=1.0)
    max_retries: int = key(
        30, integer(1, 1_000_000), "The number of tries; `timeout` alone decides now.", zero=30, pending=True
    )


@dataclass(frozen=True, slots=True)
class LivenessConfig:
    threshold: int = key(
        3, integer(0, 1000), "Checks in a row without any answer after which it counts as hung; 0: never."
    )
    grace: float = key(
        60.0,
        duration(1, DAY),
        "How long one with requests under way must besides move no byte and use no processor time.",
    )
    endpoint: str = key(
        "",
        _OPTIONAL_URL_PATH,
        "A path of its own to ask, with a good answer wanted; empty: any answer will do.",
    )
    interval: float = key(30.0, duration(0.1, DAY), "The pause between two checks of that path.")
    timeout: float = key(5.0, duration(0.05, 3600), "How long one of them may take.")


@dataclass(frozen=True, slots=True)
class DeploymentConfig:
    health_check: HealthCheckConfig = group(HealthCheckConfig, "How a started formation proves itself.")
    force_kill_timeout: float = key(
        5.0, duration(0.1, 3600), "How long a process may take to end before it is killed.", zero=5.0
    )
    when_memory_short: str = key(
        "refuse",
        choice("refuse", "recreate", "ignore"),
        "What becomes of an update when two releases would not fit into the memory side by side: it is "
        "refused, done one release after the other, or tried all the same.",
    )
    staging_health_delay: float = key(
        2.0, duration(0, 3600), "The pause before a new version is first asked.", zero=2.0, pending=True
    )


@dataclass(frozen=True, slots=True)
class BundleLimits:
    max_upload_size: int = key(1 * G, size(K), "The largest bundle taken, as uploaded.")
    max_members: int = key(100_000, integer(1), "The largest number of files and directories in a bundle.")
    max_file_size: int = key(1 * G, size(K), "The largest single file in a bundle.")
    max_total_size: int = key(4 * G, size(K), "The largest sum of all files in a bundle.")
    max_ratio: int = key(200, integer(1), "How many times its packed size a bundle may unpack to.")


@dataclass(frozen=True, slots=True)
class DraftLimits:
    max_file_size: int = key(10 * M, size(1), "The largest single file that may be written to a draft.")
    max_total_size: int = key(256 * M, size(1), "The largest sum of all files of a draft.")
    max_files: int = key(10_000, integer(1), "The largest number of files and directories in a draft.")


@dataclass(frozen=True, slots=True)
class FormationsConfig(FormationLimits):
    runtime_type: str = key(
        "native", choice("native", "docker", "singularity"), "How MUXI formations run.", pending=True
    )
    logs_dir: Path = key(Path("logs"), path(), "Where the output of formations goes.", fixed=True)
    pids_dir: Path = key(Path("pids"), path(), "Where process ids are kept.", pending=True)
    formations_dir: Path = key(Path("formations"), path(), "Where deployed formations live.", fixed=True)
    port_range: tuple[int, int] = key(
        (8000, 9000),
        PORT_RANGE,
        "The private ports of formations; the end itself is not used.",
        zero=(8000, 9000),
        fixed=True,
        parts={"port_range_start": integer(1024, 65535), "port_range_end": integer(1025, 65536)},
    )
    bind_host: str = key("127.0.0.1", host(), "The address formations listen on.", fixed=True)
    allow_dev: bool = key(
        True, boolean(), "Whether `/rpc/dev/run` may run a directory of this machine as it is."
    )
    allow_dev_remote: bool = key(
        False, boolean(), "Whether clients on other machines may do that, too; else only local ones."
    )
    max_formations: int = key(100, integer(1, 100_000), "How many formations may be deployed.", zero=100)
    keep_backups: int = key(1, integer(1, 1000), "How many old releases are kept to roll back to.", zero=1)
    auto_restart: bool = key(
        True,
        boolean(),
        "Whether a formation that died is started again.",
        unset_with=("max_restarts", "restart_delay"),
    )
    max_restarts: int = key(
        10,
        integer(1, 1_000_000),
        "Restarts within `restart_window` before it counts as a crash loop, and is tried slowly.",
        zero=10,
    )
    restart_delay: float = key(
        1.0,
        duration(0.01, 3600),
        "The pause before the first restart; each one after it is twice as long.",
        zero=1.0,
    )
    max_restart_delay: float = key(60.0, duration(0.01, DAY), "The longest pause before a restart.")
    restart_window: float = key(30 * 60.0, duration(1, DAY), "How far back failures are counted.")
    restart_reset: float = key(
        10 * 60.0, duration(1, DAY), "How long a formation must be healthy for its failures to be forgotten."
    )
    crash_loop_interval: float = key(
        5 * 60.0, duration(1, DAY), "The pause between two tries of one that crashes again and again."
    )
    dependency_timeout: float = key(
        60.0, duration(0, DAY), "How long a start waits for formations in `depends_on` before it goes on."
    )
    drain_timeout: float = key(
        10.0,
        duration(0, DAY),
        "How long requests, streams and WebSockets under way may go on before their process is ended.",
    )
    health_check_interval: float = key(
        30.0, duration(0.1, DAY), "The pause between two health checks of a running formation.", zero=30.0
    )
    health_check_timeout: float = key(
        5.0, duration(0.05, 3600), "How long one health check may take.", zero=5.0
    )
    startup_health_delay: float = key(
        2.0, duration(0, 3600), "The pause before the first health check.", zero=2.0, pending=True
    )
    unhealthy_threshold: int = key(
        3, integer(1, 1000), "Failed checks in a row that make a running formation unhealthy.", zero=3
    )
    liveness: LivenessConfig = group(LivenessConfig, "When a formation that does not answer is restarted.")
    deployment: DeploymentConfig = group(DeploymentConfig, "Starting and replacing formations.")
    log_rotation_enabled: bool = key(
        True,
        boolean(),
        "Whether the logs of formations are rotated.",
        unset_with=("log_max_size", "log_max_files"),
    )
    log_max_size: int = key(10 * M, size(K), "The size at which a log is rotated.", zero=10 * M)
    log_max_files: int = key(10, integer(1, 10_000), "How many rotated files of a log are kept.", zero=10)
    log_max_total: int = key(
        0, size(0), "The most that all logs of a formation may take together; 0: what the other two allow."
    )
    bundle: BundleLimits = group(BundleLimits, "What an uploaded bundle may hold.")
    draft: DraftLimits = group(DraftLimits, "What a draft may grow to by writing to it.")
    download_secrets: str = key(
        "encrypted",
        choice("all", "encrypted", "none"),
        "Which files of secrets a download holds: `encrypted` is secrets.enc and .env, `all` .key as well; "
        "with `none` those of a draft can't be read either.",
    )
    disk_reserve: int = key(
        64 * M, size(0), "The disk space that uploads and deploys leave free; what does not fit is refused."
    )

    @property
    def startup_timeout(self) -> float:
        """The documents' name for `deployment.health_check.timeout`: one budget, two names."""
        return self.deployment.health_check.timeout


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    sif_base_url: str = key(
        "https://pkg.muxi.org/runtime", text(), "Where runtime images come from.", pending=True
    )
    runtime_runner_image: str = key(
        "ghcr.io/muxi-ai/runtime-runner:latest", text(), "The image that runs them in Docker.", pending=True
    )
    auto_download: bool = key(True, boolean(), "Whether a missing runtime is downloaded.", pending=True)
    version: str = key("", text(), "The runtime version used when a formation names none.", pending=True)


@dataclass(frozen=True, slots=True)
class RceConfig:
    port: int = key(7891, integer(1, 65535), "The private port of the code runner.", zero=7891, pending=True)
    auth_token: str = key("", text(), "The token of the code runner.", secret=True, pending=True)
    data_dir: str = key("", text(), "Where the code runner keeps its files.", pending=True)


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    level: str = key("info", LOG_LEVEL, "The least important events that are logged.")
    format: str = key("text", choice("text", "json"), "How the server's log is written.", fixed=True)
    output: str | Path = key(
        "stderr", LOG_OUTPUT, "Where it goes; `file`: server.log in the log directory.", fixed=True
    )
    audit_log: Path = key(
        Path("logs/audit.log"), path(), "Where every management request is recorded.", fixed=True
    )


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are on this machine, all absolute; see `muxi.config.paths`."""

    config_dir: Path
    data_dir: Path
    log_dir: Path
    cache_dir: Path
    config_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    server_id: str = key("", text(), "The name of this installation; made at `init`, then kept.", fixed=True)
    server: ServerConfig = group(ServerConfig, "The public port.")
    auth: AuthConfig = group(AuthConfig, "Who may manage the server.")
    formations: FormationsConfig = group(FormationsConfig, "The services that run here.")
    proxy: ProxyConfig = group(ProxyConfig, "The way in to formations.")
    runtime: RuntimeConfig = group(RuntimeConfig, "The MUXI runtime.")
    rce: RceConfig = group(RceConfig, "The code runner of MUXI formations.")
    logging: LoggingConfig = group(LoggingConfig, "The server's own log, and the audit log.")
    paths: Paths


def with_absolute_paths(config: Config) -> Config:
    """Let relative paths begin in the data directory; absolute ones stay as they are."""
    data = config.paths.data_dir
    old = config.formations
    formations = replace(
        old,
        logs_dir=data / old.logs_dir,
        pids_dir=data / old.pids_dir,
        formations_dir=data / old.formations_dir,
    )
    tls = replace(
        config.server.tls,
        cert=config.server.tls.cert and data / config.server.tls.cert,
        key=config.server.tls.key and data / config.server.tls.key,
    )
    output = config.logging.output
    if output == "file":
        output = config.paths.log_dir / "server.log"
    elif isinstance(output, Path):
        output = data / output
    logging = replace(config.logging, output=output, audit_log=data / config.logging.audit_log)
    return replace(config, server=replace(config.server, tls=tls), formations=formations, logging=logging)


def defaults(paths: Paths) -> Config:
    """Return the configuration of a server that has been told nothing."""
    return with_absolute_paths(Config(paths=paths))


def reference() -> tuple[Row, ...]:
    """Return a row for every key that a file may hold, for the written reference."""
    return tuple(rows(Config))
