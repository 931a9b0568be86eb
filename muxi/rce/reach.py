"""Where the code runner is reached: by whom, and by whom it should not be. Pure.

It listens on the port of this machine. A process here reaches it on the loopback address, and so
does one in an image file, which shares the machine's network. In a container that address is the
container's own; the name below is the machine's, which the engine makes known to it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from muxi.runtime.choice import DOCKER

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOPBACK: Final = "127.0.0.1"
FROM_CONTAINERS: Final = "host.docker.internal"
IN_CONTAINERS: Final = frozenset({DOCKER})
"""The runtimes whose processes have a network of their own."""


def url_for(runtime: str, port: int) -> str:
    """Return the address that is valid from inside a formation on this runtime."""
    return f"http://{FROM_CONTAINERS if runtime in IN_CONTAINERS else LOOPBACK}:{port}"


def exposed_on(addresses: Iterable[str]) -> list[str]:
    """Return those of the addresses it listens on that others than this machine may reach."""
    return sorted(address for address in addresses if not ipaddress.ip_address(address).is_loopback)
