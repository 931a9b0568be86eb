"""The states of one supervised process, and which event leads from which to which.

Theory of operation
-------------------
One machine, one instance. It starts in `stopped` and sees these events:

    start      its owner wants it kept running
    adopted    it runs already and was healthy: an earlier server started it, this one goes on
    healthy    a probe was answered well: the first one, or one after `unhealthy`
    unhealthy  so many probes in a row failed that nothing should be sent to it
    exited     its process ended, and nobody had asked it to
    failed     there is no process to wait for: it could not be spawned, was not healthy in time
               or hung and was ended, could not be ended, or the supervisor itself failed
    retry      the delay after a crash is over, the next process is about to be spawned
    parked     nobody will try again, until its owner starts it anew
    stop       its owner wants it ended, or the supervisor is going away
    stopped    the process and its whole group are gone

`starting` and `restarting` are the same situation, a process that was never healthy yet; only
what led to it differs: an owner's wish, or a crash. `crashed` means that there is no process. It
is left by `retry`; only one that is not to be restarted (`auto_restart` is off, or its very first
start failed) is parked. One that crashes again and again is not: it is tried slowly, and marked
as a crash loop beside its state. A process is alive or being spawned in `starting`, `restarting`,
`running` and `unhealthy`; it may be alive in `stopping`.

A server that is replaced by a newer one lets go of its processes: no event, for nothing happens
to them. The machine ends where it is, and the next server's begins with `adopted` or `start`.

The table below is the whole truth: everything not in it is a defect of ours and raises. The
names of the states are those of the wire, so clients know them. contributing/lifecycle.md shows
it as a diagram, made from the table (`python -m tests.process.diagram`).

This file does no I/O and reads no clock. Why an instance is in its state, since when, when it is
tried again and whether it is in a crash loop stands beside it, in `muxi.process.instance`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from muxi.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """What clients see as `status`."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    STOPPING = "stopping"
    CRASHED = "crashed"
    RESTARTING = "restarting"


class Event(StrEnum):
    """What can happen to an instance; the module's docstring says what each means."""

    START = "start"
    ADOPTED = "adopted"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    EXITED = "exited"
    FAILED = "failed"
    RETRY = "retry"
    PARKED = "parked"
    STOP = "stop"
    STOPPED = "stopped"


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.STOPPED, Event.START): State.STARTING,
    (State.STOPPED, Event.ADOPTED): State.RUNNING,
    (State.STARTING, Event.HEALTHY): State.RUNNING,
    (State.STARTING, Event.EXITED): State.CRASHED,
    (State.STARTING, Event.FAILED): State.CRASHED,
    (State.STARTING, Event.STOP): State.STOPPING,
    (State.RUNNING, Event.UNHEALTHY): State.UNHEALTHY,
    (State.RUNNING, Event.EXITED): State.CRASHED,
    (State.RUNNING, Event.FAILED): State.CRASHED,
    (State.RUNNING, Event.STOP): State.STOPPING,
    (State.UNHEALTHY, Event.HEALTHY): State.RUNNING,
    (State.UNHEALTHY, Event.EXITED): State.CRASHED,
    (State.UNHEALTHY, Event.FAILED): State.CRASHED,
    (State.UNHEALTHY, Event.STOP): State.STOPPING,
    (State.CRASHED, Event.RETRY): State.RESTARTING,
    (State.CRASHED, Event.PARKED): State.CRASHED,
    (State.CRASHED, Event.START): State.STARTING,
    (State.CRASHED, Event.STOP): State.STOPPING,
    (State.RESTARTING, Event.HEALTHY): State.RUNNING,
    (State.RESTARTING, Event.EXITED): State.CRASHED,
    (State.RESTARTING, Event.FAILED): State.CRASHED,
    (State.RESTARTING, Event.STOP): State.STOPPING,
    (State.STOPPING, Event.STOPPED): State.STOPPED,
    (State.STOPPING, Event.FAILED): State.CRASHED,
}

SPAWNED = frozenset({State.STARTING, State.RESTARTING, State.RUNNING, State.UNHEALTHY})
"""The states in which a process is alive or being spawned, and is meant to stay."""


def advance(state: State, event: Event) -> State:
    """Return the state that follows. Raises InternalError when the event is impossible there."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InternalError(f"A {state} process can't see the event {event!s}.") from None
