"""What the engine answers, as far as we read it. Names are the API's; what an engine leaves out is empty."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads the annotations

import msgspec


class _Answer(msgspec.Struct, rename="pascal"):
    pass


class EngineVersion(_Answer):
    """GET /version."""

    version: str = ""
    api_version: str = ""
    min_a_p_i_version: str = msgspec.field(default="", name="MinAPIVersion")
    platform: Mapping[str, str] | None = None


class EngineInfo(_Answer):
    """GET /info."""

    security_options: tuple[str, ...] | None = None


class ImageConfig(_Answer):
    exposed_ports: Mapping[str, object] | None = None
    env: tuple[str, ...] | None = None
    stop_signal: str = ""
    user: str = ""


class ImageFacts(_Answer):
    """GET /images/{name}/json."""

    id: str
    repo_digests: tuple[str, ...] | None = None
    architecture: str = ""
    os: str = ""
    config: ImageConfig | None = None


class ContainerState(_Answer):
    status: str = ""
    running: bool = False
    o_o_m_killed: bool = msgspec.field(default=False, name="OOMKilled")
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = ""
    finished_at: str = ""


class ContainerConfig(_Answer):
    labels: Mapping[str, str] | None = None
    stop_signal: str = ""
    image: str = ""


class PortBinding(_Answer):
    host_ip: str = ""
    host_port: str = ""


class NetworkSettings(_Answer):
    ports: Mapping[str, tuple[PortBinding, ...] | None] | None = None


class ContainerFacts(_Answer):
    """GET /containers/{id}/json."""

    id: str
    state: ContainerState
    config: ContainerConfig
    name: str = ""
    network_settings: NetworkSettings | None = None

    @property
    def labels(self) -> Mapping[str, str]:
        return self.config.labels or {}


class ContainerListed(_Answer):
    """One of GET /containers/json."""

    id: str
    labels: Mapping[str, str] | None = None
    state: str = ""


class Created(_Answer):
    """POST /containers/create."""

    id: str
    warnings: tuple[str, ...] | None = None


class _CpuUsage(msgspec.Struct, frozen=True):
    total_usage: int = 0


class _Cpu(msgspec.Struct, frozen=True):
    cpu_usage: _CpuUsage | None = None


class _Memory(msgspec.Struct, frozen=True):
    usage: int = 0
    stats: Mapping[str, int] | None = None


class _Tasks(msgspec.Struct, frozen=True):
    current: int = 0


class Stats(msgspec.Struct, frozen=True):
    """GET /containers/{id}/stats: one look. Processor time is nanoseconds, memory bytes."""

    cpu_stats: _Cpu | None = None
    memory_stats: _Memory | None = None
    pids_stats: _Tasks | None = None

    @property
    def cpu_seconds(self) -> float:
        usage = None if self.cpu_stats is None else self.cpu_stats.cpu_usage
        return 0.0 if usage is None else usage.total_usage / 1e9

    @property
    def memory(self) -> int:
        """Return what is really held: without files that are only cached, as the engines' tools do."""
        found = self.memory_stats
        if found is None:
            return 0
        known = found.stats or {}
        cached = known.get("total_inactive_file", known.get("inactive_file", 0))
        return max(0, found.usage - cached)

    @property
    def tasks(self) -> int:
        return 0 if self.pids_stats is None else self.pids_stats.current


class PullDetail(msgspec.Struct, frozen=True):
    current: int = 0
    total: int = 0


class PullStep(msgspec.Struct, frozen=True, rename="camel"):
    """One line of POST /images/create."""

    status: str = ""
    id: str = ""
    error: str = ""
    progress_detail: PullDetail | None = None
