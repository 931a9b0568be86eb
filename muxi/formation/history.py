"""The operations of the past, kept for a while so that they can be looked at after their end."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.formation.operation import Operation

PER_FORMATION = 10
FORMATIONS = 1000


class History:
    """The latest operations of each formation, those of deleted ones too. In memory, bounded.

    Of more than `FORMATIONS` formations, those that had nothing done to them for longest go.
    `watchers` are told of each operation's end; they must be quick, and must not fail.
    """

    def __init__(self) -> None:
        self.watchers: list[Callable[[Operation], None]] = []
        self._operations: OrderedDict[str, deque[Operation]] = OrderedDict()

    def add(self, operation: Operation) -> None:
        kept = self._operations.setdefault(operation.formation_id, deque(maxlen=PER_FORMATION))
        kept.append(operation)
        self._operations.move_to_end(operation.formation_id)
        operation.at_end += self.watchers
        if len(self._operations) > FORMATIONS:
            self._operations.popitem(last=False)

    def find(self, formation_id: str, operation_id: str | None = None) -> Operation | None:
        """Return the formation's latest operation, or the one of that id; None when it is not kept."""
        kept = self._operations.get(formation_id, ())
        return next(
            (found for found in reversed(kept) if operation_id in {None, found.id}),
            None,
        )
