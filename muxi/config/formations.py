"""The settings of formations: where they live, how they are started, watched, restarted and kept.

Durations are float seconds, sizes int bytes. What they may use of the machine is in
`muxi.config.limits`, how they are kept apart from it in `muxi.config.isolation`.
"""

# ruff: noqa: RUF009 - `key` and `group` give dataclass fields; their values are immutable

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from muxi.config.isolation import FormationIsolation
from muxi.config.schema import (
    Kind,
    boolean,
    choice,
    duration,
    group,
    host,
    integer,
    key,
    path,
    size,
    url_path,
)
from muxi.config.values import parse_integer

K, M, G = 1024, 1024**2, 1024**3
DAY = 86400.0


def _port_range(written: str) -> tuple[int, int]:
    start, _, end = written.strip(" []").replace(",", "-").partition("-")
    return parse_integer(start, 1024, 65535), parse_integer(end, 1025, 65536)


PORT_RANGE: Kind[tuple[int, int]] = Kind(
    "[start, end]",
    "1024 ≤ start < end ≤ 65536",
    _port_range,
    lambda ports: str(list(ports)) if isinstance(ports, tuple) else "",
)
_OPTIONAL_URL_PATH: Kind[str] = Kind(
    "path", url_path().allowed, lambda written: url_path().parse(written) if written.strip() else ""
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
class FormationsConfig(FormationIsolation):
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
