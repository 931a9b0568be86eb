"""An operation on a formation: what it is doing, who watches it, and how it ended.

An operation runs in the formation's own task, not in its requester's: a client that leaves does
not end it, and any number can watch it, from its beginning or by its id, also after its end
(`muxi.formation.history`).
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import trio

from muxi.errors import InternalError, MuxiError
from muxi.registry.receipts import Problem, Receipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from muxi.registry.receipts import Claim

Kind = Literal[
    "deploy", "update", "rollback", "start", "stop", "restart", "delete", "restore", "recycle", "shutdown"
]
CANCELLABLE: frozenset[Kind] = frozenset({"deploy", "update", "rollback"})
"""What can be taken back on its way. A start or restart is ended by a stop."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: `progress`, then at last one of `complete` and `error`."""

    name: Literal["progress", "complete", "error"]
    data: Mapping[str, object]


@dataclass(slots=True, eq=False)
class Operation:
    """A running or ended operation. Written by its formation's task, read by anybody."""

    kind: Kind
    formation_id: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: float = field(default_factory=time.time)
    stage: str = "accepted"
    events: list[Event] = field(default_factory=list)
    result: Mapping[str, object] | None = None
    error: MuxiError | None = None
    #: Unix time of its end.
    ended_at: float | None = None
    #: What it is decided to go through with: too late for a cancel.
    decided: bool = False
    #: Of the request that began it, if that may be sent again.
    claim: Claim | None = None
    #: Called once with it, when it has ended.
    at_end: list[Callable[[Operation], None]] = field(default_factory=list)
    _changed: trio.Event = field(default_factory=trio.Event)

    @property
    def ended(self) -> bool:
        return self.result is not None or self.error is not None

    @property
    def can_cancel(self) -> bool:
        return self.kind in CANCELLABLE and not self.decided and not self.ended

    @property
    def latest(self) -> Mapping[str, object]:
        """The fields of its latest `progress`; nothing when there was none yet."""
        return next((event.data for event in reversed(self.events) if event.name == "progress"), {})

    def progress(self, stage: str, message: str, **fields: object) -> None:
        """Report a step. `fields` are the optional ones of the contract: attempt, version …"""
        self.stage = stage
        self._append(Event("progress", {"stage": stage, "message": message, **fields}))

    def succeed(self, result: Mapping[str, object]) -> None:
        self.result = result
        self._end(Event("complete", result))

    def fail(self, error: BaseException) -> None:
        """End with an error; one that is not a `MuxiError` is a defect of ours and says no more."""
        if not isinstance(error, MuxiError):
            error = InternalError("The server failed while doing this; its log has the details.")
        error.stage = error.stage or self.stage
        self.error = error
        self._end(Event("error", _error_event(error)))

    def receipt(self, at: float, result: Mapping[str, object] | None = None) -> Receipt | None:
        """Return what is to be kept for a request that is sent again; None where none can be.

        `at` is Unix time, `result` what it is about to end with, when it has not ended yet.
        """
        if self.claim is None:
            return None
        result = self.result if result is None else result
        return Receipt(
            name=self.claim.name,
            asked=self.claim.asked,
            status=self.claim.status,
            kind=self.kind,
            formation_id=self.formation_id,
            operation_id=self.id,
            at=at,
            result=None if result is None else dict(result),
            problem=None if self.error is None else _problem(self.error),
        )

    async def watch(self) -> AsyncIterator[Event]:
        """Yield all events from the first on, and end after `complete` or `error`."""
        seen = 0
        while True:
            while seen < len(self.events):
                yield self.events[seen]
                seen += 1
            if self.ended:
                return
            await self._changed.wait()

    async def wait(self) -> Mapping[str, object]:
        """Return the result when it has ended well, raise its `MuxiError` when not."""
        while not self.ended:
            await self._changed.wait()
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    def _end(self, event: Event) -> None:
        self.ended_at = time.time()
        self._append(event)
        while self.at_end:
            self.at_end.pop()(self)

    def _append(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()
        self._changed = trio.Event()


def _problem(error: MuxiError) -> Problem:
    # What a formation printed may be anything, and is in its log.
    details = {name: value for name, value in error.details.items() if name != "log_tail"}
    return Problem(
        message=error.message,
        code=error.code,
        status=error.status,
        stage=error.stage,
        cure=error.cure,
        details=details,
    )


def _error_event(error: MuxiError) -> dict[str, object]:
    data: dict[str, object] = {"error": error.code, "message": error.message, "stage": error.stage}
    if error.cure is not None:
        data["cure"] = error.cure
    if error.details:
        data["details"] = error.details
        if "rollback_status" in error.details:
            data["rollback_status"] = error.details["rollback_status"]
    return data
