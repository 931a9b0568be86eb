"""The order of starting: a formation waits for those that its manifest says it depends on.

It is an order, not a condition: who has waited long enough starts without them, and says so, for
a formation that can do some of its work is better than none. It waits only for what can come:
not for one that is stopped or unknown here, nor for one that waits for it in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxi.process.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Board:
    """How each formation stands, and who waits for whom. Owners post, and wait; on one event loop."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._waits: dict[str, tuple[str, ...]] = {}
        self._changed = trio.Event()

    def post(self, formation_id: str, state: State) -> None:
        """Say how a formation stands."""
        if self._states.get(formation_id) is not state:
            self._states[formation_id] = state
            self._wake()

    def remove(self, formation_id: str) -> None:
        """Forget one that is no more."""
        self._states.pop(formation_id, None)
        self._wake()

    async def wait(
        self,
        formation_id: str,
        wanted: Iterable[str],
        timeout: float,
        tell: Callable[[tuple[str, ...]], None],
    ) -> dict[str, str]:
        """Wait up to `timeout` seconds until all wanted are running; return those that are not, and why.

        `tell` is called with those that are being waited for, and with none at the end.
        """
        wanted = tuple(wanted)
        try:
            with trio.move_on_after(timeout):
                while missing := self._can_come(formation_id, wanted):
                    self._waits[formation_id] = missing
                    tell(missing)
                    await self._changed.wait()
        finally:
            if self._waits.pop(formation_id, None) is not None:
                tell(())
                self._wake()
        return {one: self._why(formation_id, one) for one in wanted if not self._runs(one)}

    def _can_come(self, formation_id: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            one
            for one in wanted
            if not self._runs(one)
            and self._states.get(one, State.STOPPED) is not State.STOPPED
            and not self._waits_for(one, formation_id)
        )

    def _why(self, formation_id: str, one: str) -> str:
        if one not in self._states:
            return "there is no such formation"
        if self._waits_for(one, formation_id):
            return "it waits for this one in turn"
        return f"it is {self._states[one]}"

    def _runs(self, formation_id: str) -> bool:
        return self._states.get(formation_id) is State.RUNNING

    def _waits_for(self, one: str, other: str) -> bool:
        """Say whether one waits for another, or for somebody who does."""
        unseen, seen = [one], {one}
        while unseen:
            waits = self._waits.get(unseen.pop(), ())
            if other in waits:
                return True
            unseen += [each for each in waits if each not in seen]
            seen.update(waits)
        return False

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
