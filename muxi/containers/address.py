"""Where the container engine listens.

In this order: what the configuration says, what `DOCKER_HOST` says, the sockets that Docker and
Podman are known to make.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from muxi.containers.failures import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

CURE = (
    "Install and start Docker or Podman, or say where its socket is: runtime.engine.address "
    "in the configuration, or DOCKER_HOST."
)


@dataclass(frozen=True, slots=True)
class Address:
    """A Unix socket, or the base URL of an engine that listens on TCP."""

    socket: Path | None = None
    url: str = "http://engine"

    def __str__(self) -> str:
        return f"unix://{self.socket}" if self.socket is not None else self.url


def parse_address(text: str) -> Address:
    """Read an address: `unix:///path`, `/path`, or `tcp://host:port` of this machine.

    Raises EngineUnavailable for any other. Formations' files, and the ports they are reached on, are
    on this machine, so an engine on another one is of no use.
    """
    if text.startswith("/"):
        return Address(Path(text))
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _unusable(text, "is no address") from None
    if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
        return Address(Path(parts.path))
    if parts.scheme not in {"tcp", "http"} or not parts.hostname or port is None:
        raise _unusable(text, "is neither unix:///path nor tcp://host:port")
    if not _is_here(parts.hostname):
        raise _unusable(text, "is on another machine, where formations' files and ports are not")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(url=f"http://{host}:{port}")


def locate(configured: str, environ: Mapping[str, str]) -> Address:
    """Say where the engine is. Raises EngineUnavailable when nothing says so."""
    said = configured or environ.get("DOCKER_HOST", "")
    if said:
        return parse_address(said)
    for path in known_sockets(environ):
        if path.is_socket():
            return Address(path)
    raise EngineUnavailable("There is no container engine on this machine (no socket was found).", CURE)


def known_sockets(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where engines put their sockets, the system's before the user's, Docker's before Podman's."""
    home = Path(environ.get("HOME", "/"))
    found = [Path("/var/run/docker.sock"), home / ".docker/run/docker.sock"]
    own = environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}" if hasattr(os, "getuid") else "")
    if own:
        found.append(Path(own, "docker.sock"))
    found.append(Path("/run/podman/podman.sock"))
    if own:
        found.append(Path(own, "podman/podman.sock"))
    return tuple(found)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _unusable(text: str, why: str) -> EngineUnavailable:
    shown = text if "@" not in text else "…"  # there may be a password in it
    return EngineUnavailable(f"The container engine's address '{shown}' {why}.", CURE)
