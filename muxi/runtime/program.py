"""What a runtime needs to know of a formation to run it: the part of a manifest that says how."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from muxi.process.health import HealthCheck, Liveness, Readiness, StartUp

if TYPE_CHECKING:
    from collections.abc import Mapping

_Settings = TypeVar("_Settings", StartUp, Readiness, Liveness)

Kind = Literal["native", "muxi", "image"]
"""A process of its own, a formation of the MUXI runtime, or a container of an image that it names."""

SERVER_VARIABLES = frozenset({"PORT", "HOST", "FORMATION_ID", "MUXI_SERVER_URL", "_bind_host", "_port"})
"""Variables that the server sets and a manifest's `env` may not: they say who and where it is."""


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """What a formation says of one question asked of it; None leaves the server's setting.

    `paths` replace those asked by default. Times are seconds; `threshold` is how many failures in
    a row count.
    """

    path: str | None = None
    timeout: float | None = None
    interval: float | None = None
    threshold: int | None = None
    grace: float | None = None

    def given(self) -> dict[str, object]:
        """Return what is said, under the names of `muxi.process.health`."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        path = said.pop("path", None)
        return said if path is None else {**said, "paths": (path,)}


@dataclass(frozen=True, slots=True)
class HealthOptions:
    """What a formation says of its own health check; None leaves the server's setting.

    `path` and `timeout` hold for start-up and readiness, `interval` and `startup_timeout` for
    start-up, `unhealthy_threshold` for readiness; those of one question win over these.
    """

    path: str | None = None
    timeout: float | None = None
    interval: float | None = None
    startup_timeout: float | None = None
    unhealthy_threshold: int | None = None
    readiness: ProbeOptions = field(default_factory=ProbeOptions)
    liveness: ProbeOptions = field(default_factory=ProbeOptions)

    def over(self, defaults: HealthCheck) -> HealthCheck:
        """Return the server's settings with what the formation says in their places."""
        common = ProbeOptions(path=self.path, timeout=self.timeout).given()
        starting = ProbeOptions(interval=self.interval).given()
        if self.startup_timeout is not None:
            starting["budget"] = self.startup_timeout
        serving = ProbeOptions(threshold=self.unhealthy_threshold).given()
        return HealthCheck(
            start_up=_changed(defaults.start_up, common | starting),
            readiness=_changed(defaults.readiness, common | serving | self.readiness.given()),
            liveness=_changed(defaults.liveness, self.liveness.given()),
        )


def _changed(settings: _Settings, changes: Mapping[str, object]) -> _Settings:
    return replace(settings, **changes)  # type: ignore[arg-type] # the names and types match by test


class Program(Protocol):
    """A formation as a runtime sees it. `muxi.formation.manifest.Manifest` is one."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def muxi_runtime(self) -> str | None:
        """The version of the MUXI runtime that it asks for, with its variant: `1.2:cuda`."""

    @property
    def python(self) -> str | None:
        """The Python that it asks for: a version (`3.12`) or an interpreter's path."""

    @property
    def environment(self) -> bool:
        """Whether it is to have a Python environment, if it says what belongs into it."""

    @property
    def image(self) -> str | None:
        """The OCI image that it is a container of."""

    @property
    def command(self) -> tuple[str, ...] | None: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def health(self) -> HealthOptions: ...
    @property
    def stop_timeout(self) -> float | None: ...
    @property
    def sandbox(self) -> bool | None:
        """Whether it is to be kept apart from the machine; None: as the server does."""
