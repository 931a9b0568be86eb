"""Waiting in tests for what has no event: a condition, looked at often, with a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return once the condition holds; fail when it does not in time."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is looked at from outside has no event
            await trio.sleep(0.005)
