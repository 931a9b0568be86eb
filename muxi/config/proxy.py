"""The settings of the way in to formations: limits of the whole proxy, and defaults for each formation.

A manifest's `proxy:` block may say otherwise for its formation, under the names of `FORMATION_KEYS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from muxi.config.schema import boolean, choice, decimal, duration, integer, key, size

K, M = 1024, 1024**2
DAY = 86400.0
WEEK = 7 * DAY


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    max_head_size: int = key(
        32 * K,
        size(K, 1 * M),
        "The largest request head taken; its first line may have half of it, 16K at most.",
    )
    max_connections: int = key(
        0, integer(0), "How many connections are held at once; 0: as many as there are descriptors for."
    )
    max_connections_per_address: int = key(
        0, integer(0), "How many connections one client address may hold; 0: no limit."
    )
    max_concurrent: int = key(
        0, integer(0), "How many requests to formations may be under way at once; 0: no limit."
    )
    max_concurrent_per_formation: int = key(
        0, integer(0), "How many of them to one formation, and the most a manifest may allow; 0: no limit."
    )
    max_body_size: int = key(
        0,
        size(0),
        "The largest request body for a formation, and the most a manifest may allow; 0: no limit, "
        "for bodies are passed on and never kept.",
    )
    rate: float = key(
        0.0,
        decimal(0, 1_000_000),
        "Requests a second for one formation, and the most a manifest may allow; 0: no limit.",
    )
    burst: int = key(
        0, integer(0, 1_000_000), "How many requests may come at once under `rate`; 0: those of one second."
    )
    hold_requests: int = key(
        100, integer(0, 100_000), "How many requests wait while their formation starts or changes over."
    )
    hold_timeout: float = key(30.0, duration(0, 3600), "How long such a request waits; 0: none waits.")
    stream_ping: float = key(
        0.0, duration(0, 3600), "The silence in an event stream that a comment is sent into; 0: never."
    )
    stream_idle_timeout: float = key(
        0.0, duration(0, WEEK), "The silence after which an event stream is ended; 0: no limit."
    )
    response_idle_timeout: float = key(
        0.0, duration(0, WEEK), "The silence after which any other response is ended; 0: no limit."
    )
    tunnel_idle_timeout: float = key(
        0.0, duration(0, WEEK), "The silence after which a WebSocket or other tunnel is ended; 0: no limit."
    )
    on_disconnect: str = key(
        "cancel",
        choice("cancel", "continue"),
        "What becomes of a request whose client leaves: cancelled at once, or read to its end.",
    )
    continue_timeout: float = key(600.0, duration(1, WEEK), "How long a request goes on without its client.")
    cors: bool = key(
        True,
        boolean(),
        "Whether any web site may call a formation that says nothing about it itself (CORS).",
    )


#: Names in a manifest, and the settings here that they replace for one formation.
FORMATION_KEYS: Final = {
    "max_concurrent": "max_concurrent_per_formation",
    "max_body_size": "max_body_size",
    "rate": "rate",
    "burst": "burst",
    "hold_requests": "hold_requests",
    "hold_timeout": "hold_timeout",
    "stream_ping": "stream_ping",
    "stream_idle_timeout": "stream_idle_timeout",
    "response_idle_timeout": "response_idle_timeout",
    "tunnel_idle_timeout": "tunnel_idle_timeout",
    "on_disconnect": "on_disconnect",
    "continue_timeout": "continue_timeout",
    "cors": "cors",
}
