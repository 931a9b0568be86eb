"""Python's garbage collector, kept from stopping streams for longer than it must."""

from __future__ import annotations

import gc
from typing import Final

#: New objects after which the youngest are searched for garbage; Python's own 700 are a burst of requests.
COLLECT_AFTER: Final = 10_000


def spare_collector() -> None:
    """Keep what is there for good from being searched for garbage again and again.

    Such a search stops everything, event streams too; it takes as long as there are objects. For
    the same reason there is none before: what little garbage a start leaves is kept.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
