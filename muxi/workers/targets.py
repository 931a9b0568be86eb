"""What a worker has under way to which target, as a part of the target's own numbers.

A target that has lost its place in the table is remembered until the worker goes by that change
and has nothing under way to it any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muxi.registry.routes import Target

NOTHING = (0, 0, 0)


class RemoteCounts:
    """The targets that one worker knows, and what of their numbers is its part."""

    def __init__(self) -> None:
        self._targets: dict[int, Target] = {}
        self._parts: dict[int, tuple[int, int, int]] = {}
        #: The target that is in a place of the table, and the changes by which others lost theirs.
        self._places: dict[object, int] = {}
        self._lost: dict[int, int] = {}

    def placed(self, place: object, target: Target | None, update: int) -> None:
        """Note that a target, or none, has that place in the table from a change on."""
        before = self._places.pop(place, None)
        if before is not None:
            self._lost[before] = update
        if target is not None:
            self._places[place] = target.number
            self._targets[target.number] = target
            self._lost.pop(target.number, None)

    def told(self, targets: Iterable[tuple[int, int, int, int]], update: int) -> None:
        """Take what the worker says it has under way, now that it goes by that change."""
        for number, *part in targets:
            target = self._targets.get(number)
            if target is not None:
                requests, streams, tunnels = part
                self._set(target, (requests, streams, tunnels))
        for number, lost in tuple(self._lost.items()):
            if lost <= update and self._parts.get(number, NOTHING)[0] == 0:
                self._drop(number)

    def close(self) -> None:
        """Take the worker's parts back: it is no more."""
        for number in tuple(self._targets):
            self._drop(number)

    def _drop(self, number: int) -> None:
        self._lost.pop(number, None)
        target = self._targets.pop(number, None)
        if target is not None:
            self._set(target, NOTHING)
        self._parts.pop(number, None)

    def _set(self, target: Target, now: tuple[int, int, int]) -> None:
        before = self._parts.get(target.number, NOTHING)
        self._parts[target.number] = now
        target.in_flight += now[0] - before[0]
        target.streams += now[1] - before[1]
        target.tunnels += now[2] - before[2]
        if target.draining and now != before:
            target.emptied()
