"""Python's garbage collector, set so that it does not stop event streams."""

from __future__ import annotations

import gc

COLLECT_AFTER = 10_000
"""New objects after which the youngest are searched for garbage; Python's own 700 are a burst of requests."""


def spare_collector() -> None:
    """Keep what is there for good from being searched for garbage again and again.

    Such a search stops everything, event streams too; it takes as long as there are objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
