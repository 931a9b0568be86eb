"""An answer's body that a task makes while it is sent; the task ends when the client leaves."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import trio
from quart.wrappers.response import ResponseBody

if TYPE_CHECKING:
    from types import TracebackType


class TaskBody(ResponseBody):
    """Runs `_run` while the body is sent; a subclass has that and `__anext__`."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        raise NotImplementedError

    async def _run(self) -> None:
        raise NotImplementedError
