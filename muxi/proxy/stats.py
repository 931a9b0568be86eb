"""What the proxy counts: for the whole server here, for each formation on its route (`Route.traffic`)."""

from __future__ import annotations

from dataclasses import dataclass

from muxi.registry.traffic import Distribution, Histogram, Traffic, TrafficView

__all__ = ["Distribution", "Histogram", "Tally", "Traffic", "TrafficView"]


@dataclass(slots=True)
class Tally:
    """Counts since start, for the status page."""

    connections: int = 0
    requests: int = 0
    retries: int = 0
    upstream_failures: int = 0
    #: Requests to formations under way now.
    in_flight: int = 0
    #: Failures of ours, or of Hypercorn, that ended one connection and no more.
    contained: int = 0
    #: Connections that were past a deadline.
    expired: int = 0
    #: Connections and requests that were over a limit of the whole server.
    refused_connections: int = 0
    refused_requests: int = 0
