"""What a client and a formation may take: times in seconds, sizes in bytes.

Times are kept to within a second, since one sweep a second watches them all (see `deadlines`).
Nothing limits a whole response or the wait for its first byte: an agent may think for minutes,
and a client that no longer wants the answer ends the wait by leaving.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one listener; the defaults are safe on the open internet. A time of 0 is no limit."""

    #: Until keys are agreed on, over TLS.
    handshake_timeout: float = 10.0
    #: The largest request head; its first line may have half of it, 16 kB at most.
    max_head: int = 64 << 10
    #: Connections at once, and of one address; 0 is no limit but that of descriptors.
    max_connections: int = 0
    max_connections_per_address: int = 0
    #: Requests to formations under way at once; 0 is no limit.
    max_concurrent: int = 0
    #: From the first byte of a request's head to its last.
    head_timeout: float = 15.0
    #: Between two requests on one connection.
    idle_timeout: float = 60.0
    #: Between two reads of a request body.
    body_idle_timeout: float = 60.0
    #: For a client that does not take what is sent to it.
    write_stall_timeout: float = 60.0
    #: For a formation that does not take the body sent to it.
    upstream_stall_timeout: float = 300.0
    #: Until a formation has accepted a connection.
    connect_timeout: float = 5.0
    #: How long, and how many bytes, a client may go on sending after its early answer.
    linger_timeout: float = 5.0
    linger_bytes: int = 64 << 20
    #: Between two looks at the deadlines; the precision of all times above.
    sweep_interval: float = 1.0
    #: How long accepting pauses when the process has run out of descriptors.
    accept_pause: float = 0.1

    def __post_init__(self) -> None:
        for name in ("head_timeout", "idle_timeout", "body_idle_timeout", "write_stall_timeout"):
            if not getattr(self, name):
                object.__setattr__(self, name, math.inf)
