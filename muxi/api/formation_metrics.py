"""What is counted of formations, as metrics. Names in labels are those of formations that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxi.api.views import STATUSES
from muxi.observe.metrics import Family
from muxi.registry.traffic import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from muxi.formation.view import FormationView
    from muxi.registry.traffic import TrafficView

GAUGES: Final = {
    "in_flight": "Requests under way.",
    "streams": "Event streams open.",
    "tunnels": "Upgraded connections open, WebSockets most of them.",
    "holding": "Requests that wait until the formation can answer.",
}
COUNTERS: Final = {
    "held": "Requests that had to wait until the formation could answer.",
    "retries": "Requests that were sent to the formation again.",
    "cancelled": "Requests whose client left before the end.",
    "connect_errors": "Connections to the formation that could not be made.",
    "upstream_failures": "Requests that the formation failed to answer.",
    "rate_limited": "Requests refused for their rate.",
    "refused": "Requests refused for another limit.",
}
TIMES: Final = {
    "first_byte": "Time to the first byte of the answer.",
    "first_event": "Time to the first event of a stream.",
    "stream": "How long event streams were open.",
}
NO_STATUS: Final = "none"
"""The class of requests that had no answer, because their client left before."""


def traffic_families(traffic: Iterable[tuple[str, TrafficView]]) -> Iterator[Family]:
    """Yield what the proxy has counted of each formation's requests."""
    found = list(traffic)
    requests = Family("muxi_formation_requests_total", "counter", "Requests ended, by class of status.")
    received = Family("muxi_formation_request_bytes_total", "counter", "Bytes of bodies of requests.")
    sent = Family("muxi_formation_response_bytes_total", "counter", "Bytes of bodies of responses.")
    for name, view in found:
        for status, count in view.by_status.items():
            requests.add(count, formation=name, **{"class": status})
        unanswered = view.requests - sum(view.by_status.values())
        requests.add(unanswered, formation=name, **{"class": NO_STATUS})
        received.add(view.bytes_in, formation=name)
        sent.add(view.bytes_out, formation=name)
    yield from (requests, received, sent)
    for field, said in GAUGES.items():
        yield _singles(f"muxi_formation_{field}", "gauge", said, found, field)
    for field, said in COUNTERS.items():
        yield _singles(f"muxi_formation_{field}_total", "counter", said, found, field)
    for field, said in TIMES.items():
        yield _times(field, said, found)


def process_families(views: Iterable[FormationView]) -> Iterator[Family]:
    """Yield how each formation's process stands, and what it uses."""
    state = Family("muxi_formation_state", "gauge", "1 for the state that it is in, 0 for the others.")
    healthy = Family("muxi_formation_healthy", "gauge", "Whether its latest health check was good.")
    uptime = Family("muxi_formation_uptime_seconds", "gauge", "Time since its process was started.")
    restarts = Family("muxi_formation_restarts_total", "counter", "Automatic restarts of its process.")
    loop = Family("muxi_formation_crash_loop", "gauge", "Whether it fails again and again.")
    draining = Family(
        "muxi_formation_draining",
        "gauge",
        "Whether requests are waited for before a process of its is ended.",
    )
    memory = Family("muxi_formation_memory_bytes", "gauge", "Resident memory of its processes.")
    cpu = Family("muxi_formation_cpu_seconds_total", "counter", "Processor time of its processes.")
    processes = Family("muxi_formation_processes", "gauge", "Its living processes.")
    threads = Family("muxi_formation_threads", "gauge", "Their threads.")
    files = Family("muxi_formation_open_files", "gauge", "Files that they have open.")
    for view in views:
        name = view.id
        for one in STATUSES:
            state.add(one == view.status, formation=name, state=one)
        healthy.add(view.healthy is True, formation=name)
        uptime.add(view.uptime, formation=name)
        restarts.add(view.restart_count, formation=name)
        loop.add(view.crash_loop, formation=name)
        draining.add(view.drain is not None, formation=name)
        if view.usage is None:
            continue
        memory.add(view.usage.memory, formation=name)
        cpu.add(view.usage.cpu_seconds, formation=name)
        processes.add(view.usage.processes, formation=name)
        threads.add(view.usage.threads, formation=name)
        if view.usage.open_files is not None:
            files.add(view.usage.open_files, formation=name)
    yield from (state, healthy, uptime, restarts, loop, draining, memory, cpu, processes, threads, files)


def _singles(name: str, kind: str, said: str, found: list[tuple[str, TrafficView]], field: str) -> Family:
    family = Family(name, "gauge" if kind == "gauge" else "counter", said)
    for formation, view in found:
        family.add(getattr(view, field), formation=formation)
    return family


def _times(field: str, said: str, found: list[tuple[str, TrafficView]]) -> Family:
    family = Family(f"muxi_formation_{field}_seconds", "histogram", said)
    for formation, view in found:
        times = view.stream_seconds if field == "stream" else getattr(view, field)
        family.add_histogram(BOUNDS, times.counts, times.total, formation=formation)
    return family
