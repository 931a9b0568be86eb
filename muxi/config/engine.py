"""The settings of the container engine; see `muxi.config.model` for how settings are declared."""

from __future__ import annotations

from dataclasses import dataclass

from muxi.config.schema import choice, key, text


@dataclass(frozen=True, slots=True)
class EngineConfig:
    address: str = key(
        "",
        text(),
        "Where Docker or Podman listens: `unix:///path` or `tcp://host:port` of this machine; empty: what "
        "DOCKER_HOST says, else the sockets they are known to make.",
        fixed=True,
    )
    pull: str = key(
        "missing",
        choice("missing", "always", "never"),
        "When a deploy or update fetches an image: only if the engine does not have it, always, or never. "
        "A restart never does.",
    )
    user: str = key(
        "server",
        choice("server", "image"),
        "Who a container runs as: the server's own user and group, who can read the bundle and write the "
        "state; or whom its image names.",
    )
    network: str = key("", text(), "The engine's network that containers are put in; empty: its default one.")
    runner_privileges: str = key(
        "namespaces",
        choice("namespaces", "privileged"),
        "What the container may do that runs a runtime image inside: make user namespaces, or all. The "
        "second is for kernels that forbid the first.",
    )
