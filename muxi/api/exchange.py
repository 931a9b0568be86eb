"""One request and its answer, as the audit log and the server log will tell of them."""

from __future__ import annotations

import re
import time
import uuid
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import structlog
import trio

from muxi.api.audit import AuditEntry
from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypercorn.typing import HTTPScope

    from muxi.formation.operation import Operation

_current: ContextVar[Exchange] = ContextVar("exchange")

_SANE_ID = re.compile(rb"[\x21-\x7e]{1,128}")


@dataclass(slots=True)
class Exchange:
    """What is known of a request so far. Filled in by whoever learns something; read at its end.

    `status` is what was decided, which for a streamed answer can differ from what was sent.
    `audited` tells whether the request is for the management API.
    """

    request_id: str
    method: str
    address: str | None
    audited: bool
    started: float = field(default_factory=time.time)
    begun: float = field(default_factory=trio.current_time)
    key_id: str | None = None
    route: str | None = None
    formation: str | None = None
    status: int | None = None
    operation_id: str | None = None
    outcome: str | None = None
    began: Callable[[Operation, int], None] | None = None
    """Who wants to know of the operation that this begins, and the status of its good end."""
    kept: Literal["", "while the server runs", "lastingly"] = ""
    """How long the answer is for who asks again, too: it tells of a change made without an operation."""
    resources: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What the answer holds open; closed when the request has ended, answered or not."""

    @classmethod
    def begin(cls, scope: HTTPScope) -> Exchange:
        """Start the record of a request whose path has been normalised."""
        path = scope["path"]
        client = scope.get("client")
        return cls(
            request_id=request_id(scope),
            method=scope["method"],
            address=client[0] if client else None,
            audited=path == "/rpc" or path.startswith("/rpc/"),
        )

    def begin_operation(self, operation: Operation, status: int) -> None:
        """Note which operation this request has begun, or has come to watch."""
        self.operation_id = operation.id
        if self.began is not None:
            self.began(operation, status)

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Make it the current one of this task and its children, and its id part of what they log."""
        token = _current.set(self)
        try:
            with structlog.contextvars.bound_contextvars(request_id=self.request_id):
                yield
        finally:
            _current.reset(token)

    @property
    def duration_ms(self) -> float:
        return round((trio.current_time() - self.begun) * 1000, 1)

    def entry(self) -> AuditEntry:
        """Return what the audit log keeps of it. A request that got no answer has status 499."""
        return AuditEntry(
            time=rfc3339(self.started),
            request_id=self.request_id,
            key_id=self.key_id,
            address=self.address,
            method=self.method[:32],
            route=self.route,
            formation=self.formation,
            status=self.status or 499,
            duration_ms=self.duration_ms,
            operation_id=self.operation_id,
            outcome=self.outcome,
        )


def request_id(scope: HTTPScope) -> str:
    """Take the client's X-Request-ID when it is short and plain, else make one."""
    for name, value in scope["headers"]:
        if name.lower() == b"x-request-id" and _SANE_ID.fullmatch(value):
            return value.decode("ascii")
    return uuid.uuid4().hex


def current() -> Exchange:
    """Return the exchange of the request that this task answers."""
    return _current.get()
