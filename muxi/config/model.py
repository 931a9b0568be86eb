"""Every setting of the server: its name, type, default, limits and meaning, declared once.

All durations are float seconds, all sizes int bytes. `muxi.config.load` makes a checked `Config`
with absolute paths; `defaults(paths)` is the same without any file, environment or flag.
"""

# ruff: noqa: RUF009 - `key` and `group` give dataclass fields; their values are immutable

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from muxi.auth.credentials import ALLOWED_ID, ALLOWED_SECRET, KeyPair
from muxi.config.download import DownloadConfig
from muxi.config.environments import EnvironmentsConfig
from muxi.config.formations import (
    BundleLimits,
    DeploymentConfig,
    DraftLimits,
    FormationsConfig,
    HealthCheckConfig,
    LivenessConfig,
)
from muxi.config.metrics import MetricsConfig
from muxi.config.proxy import ProxyConfig
from muxi.config.runtime import RceConfig, RuntimeConfig
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
    text,
)
from muxi.config.updates import UpdatesConfig
from muxi.config.values import parse_choice

__all__ = [
    "AuthConfig",
    "BundleLimits",
    "Config",
    "DeploymentConfig",
    "DownloadConfig",
    "DraftLimits",
    "EnvironmentsConfig",
    "FormationsConfig",
    "HealthCheckConfig",
    "KeyPair",
    "LivenessConfig",
    "LoggingConfig",
    "MetricsConfig",
    "Paths",
    "ProxyConfig",
    "RceConfig",
    "RuntimeConfig",
    "ServerConfig",
    "TlsConfig",
    "UpdatesConfig",
    "defaults",
    "reference",
    "with_absolute_paths",
]

K, M, G = 1024, 1024**2, 1024**3
DAY = 86400.0


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


KEYS: Kind[tuple[KeyPair, ...]] = Kind("list of {id, secret}", "any number of pairs", _key_pairs)
# The halves of a single pair are checked together, when both are known.
KEY_ID: Kind[str] = Kind("text", ALLOWED_ID, str.strip)
KEY_SECRET: Kind[str] = Kind("text", ALLOWED_SECRET, str.strip)
OPTIONAL_PATH: Kind[Path | None] = Kind("path", path().allowed, _path_or_none, _show_path_or_none)
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
    takeover_timeout: float = key(
        120.0,
        duration(1, DAY),
        "How long a program that takes over may need until it serves; one that hangs is ended then.",
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
    environments: EnvironmentsConfig = group(EnvironmentsConfig, "The Python environments of formations.")
    download: DownloadConfig = group(DownloadConfig, "How runtimes and models are fetched.")
    metrics: MetricsConfig = group(MetricsConfig, "Counts for Prometheus, at `/metrics`.")
    rce: RceConfig = group(RceConfig, "The code runner of MUXI formations.")
    logging: LoggingConfig = group(LoggingConfig, "The server's own log, and the audit log.")
    telemetry: bool = key(True, boolean(), "Whether anonymous counts are reported, an hour's at a time.")
    updates: UpdatesConfig = group(UpdatesConfig, "What is asked about newer releases.")
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
