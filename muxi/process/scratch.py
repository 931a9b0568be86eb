"""The directory of one process's temporary files, which are nobody else's and end with it."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from muxi.files import PRIVATE_DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path

CLEARING_TIMEOUT: Final = 5.0
"""Seconds that an ended process's files may take to vanish; then they do so behind our back."""


def make_empty(directory: Path) -> None:
    """Make it, and remove what an earlier process left there (blocking). Raises OSError."""
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True)


async def clear_away(directory: Path | None) -> None:
    """Remove it, as far as that can be done: what stays is removed before the next start."""
    if directory is None:
        return
    with trio.move_on_after(CLEARING_TIMEOUT):
        remove = partial(shutil.rmtree, directory, ignore_errors=True)
        await trio.to_thread.run_sync(remove, abandon_on_cancel=True)
