"""Who gets in: limits on connections and on requests, and good answers for those who don't.

Connections are refused before the process runs out of descriptors, since without any it could not
even say so. The system gives the lowest free number to a new descriptor, so its number tells how
many are in use.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from muxi.proxy.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.proxy.context import Context
    from muxi.proxy.heads import RequestHead
    from muxi.proxy.limits import Limits
    from muxi.registry.routes import Route

FULL: Final = Answer(503, "The server holds as many connections as it may", "TOO_MANY_CONNECTIONS", 1)
CROWDED: Final = Answer(503, "Too many connections from this address", "TOO_MANY_CONNECTIONS", 1)
BUSY: Final = Answer(503, "The server has as many requests under way as it may", "TOO_MANY_REQUESTS", 1)


class Doorman:
    """Counts connections by address, where that is limited, and says who may not come in.

    `ceiling`: the first descriptor that is kept for other uses than a client's connection. Trusted
    proxies stand for many clients, so the limit for an address is not theirs.
    """

    def __init__(self, limits: Limits, trusts: Callable[[str], bool], ceiling: float = math.inf) -> None:
        self._limits = limits
        self._trusts = trusts
        self._ceiling = ceiling
        self._by_address: Counter[str] = Counter()

    def limits(self) -> dict[str, object]:
        """Tell the limits, for the status page; None is no limit, times are seconds, sizes bytes."""
        limits, ceiling = self._limits, self._ceiling
        return {
            "max_connections": limits.max_connections or None,
            "max_connections_per_address": limits.max_connections_per_address or None,
            "max_concurrent": limits.max_concurrent or None,
            "max_head_size": limits.max_head,
            "max_descriptors": None if ceiling >= sys.maxsize else int(ceiling),
            "head_timeout": _finite(limits.head_timeout),
            "body_idle_timeout": _finite(limits.body_idle_timeout),
            "idle_timeout": _finite(limits.idle_timeout),
            "write_stall_timeout": _finite(limits.write_stall_timeout),
        }

    def refusal(self, descriptor: int, peer: str, connections: int) -> Answer | None:
        """Say why a new connection can't be held; None if it can. `connections` are open already."""
        most = self._limits.max_connections
        if not self.has_room(descriptor) or (most and connections >= most):
            return FULL
        return self.crowding(peer)

    def has_room(self, descriptor: int) -> bool:
        """Tell whether a client may have this descriptor, and is not one of those kept back."""
        return descriptor < self._ceiling

    def crowding(self, peer: str) -> Answer | None:
        """Say why one more connection from an address can't be held; None if it can."""
        most = self._limits.max_connections_per_address
        if most and self._by_address[peer] >= most and not self._trusts(peer):
            return CROWDED
        return None

    def configure(self, limits: Limits, trusts: Callable[[str], bool]) -> None:
        """Go by other limits from now on. Whoever is in stays in."""
        self._limits, self._trusts = limits, trusts

    def enter(self, peer: str) -> None:
        """Count a connection in; also without a limit, for there may be one later."""
        self._by_address[peer] += 1

    def leave(self, peer: str) -> None:
        """Count it out."""
        self._by_address[peer] -= 1
        if not self._by_address[peer]:
            del self._by_address[peer]


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


def refusal(context: Context, route: Route, head: RequestHead) -> Answer | None:
    """Say why a request can't be served now; None if it can. It is counted as under way already."""
    policy, traffic = route.policy, route.traffic
    if policy.max_body and head.length > policy.max_body:
        traffic.refused += 1
        return too_large(policy.max_body)
    most = context.limits.max_concurrent
    if most and context.tally.in_flight > max(1, most // context.processes):
        context.tally.refused_requests += 1
        return BUSY
    if policy.max_concurrent and traffic.in_flight > policy.max_concurrent:
        traffic.refused += 1
        message = f"Formation '{route.formation_id}' has {policy.max_concurrent} requests under way already"
        return Answer(503, message, "TOO_MANY_REQUESTS", 1)
    if route.bucket is not None:
        seconds = route.bucket.take(trio.current_time())
        if seconds:
            traffic.rate_limited += 1
            message = f"Formation '{route.formation_id}' takes {policy.rate:.12g} requests a second"
            return Answer(429, message, "RATE_LIMITED", max(1, math.ceil(seconds)))
    return None


def too_large(most: int) -> Answer:
    """413: the body is larger than a formation takes."""
    return Answer(413, f"The request body is larger than {most} bytes")
