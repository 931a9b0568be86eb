"""What a runtime needs to know of a formation to run it: the part of a manifest that says how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["native", "muxi"]

SERVER_VARIABLES = frozenset(
    {
        "PORT", "HOST", "FORMATION_ID", "MUXI_SERVER_URL", "MUXI_RCE_URL", "MUXI_RCE_TOKEN",
        "_bind_host", "_port",
    }
)  # fmt: skip
"""Variables that the server sets and a manifest's `env` may not: they say who and where it is."""


@dataclass(frozen=True, slots=True)
class HealthOptions:
    """What a formation says of its own health check; None leaves the server's setting.

    `path` replaces the paths that are tried by default. Times are seconds.
    """

    path: str | None = None
    timeout: float | None = None
    interval: float | None = None
    startup_timeout: float | None = None


class Program(Protocol):
    """A formation as a runtime sees it. `muxi.formation.manifest.Manifest` is one."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def command(self) -> tuple[str, ...] | None: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def health(self) -> HealthOptions: ...
    @property
    def stop_timeout(self) -> float | None: ...
