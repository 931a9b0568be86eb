"""All cases, in the order in which they are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cases.beside import Beside
from bench.cases.bulk import Bulk
from bench.cases.latency import Latency
from bench.cases.requests import ConnectionPerRequest, Requests
from bench.cases.streams import Streams
from bench.cases.websockets import WebSockets

if TYPE_CHECKING:
    from bench.cases.case import Case


def catalogue(most_streams: int) -> list[Case]:
    """List the cases; no more streams than a proxy may hold."""
    return [
        Requests(1),
        Requests(32),
        Requests(128),
        Latency(),
        ConnectionPerRequest(),
        WebSockets(),
        Beside(),
        Bulk(),
        Streams(most_streams),
    ]
