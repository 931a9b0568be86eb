"""What formations may use of the machine: the defaults of those that don't say, and the maxima of all.

They stand in `formations:`, flat, as the documents have always named two of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from muxi.config.schema import decimal, duration, integer, key, size

#: More cores than any machine has.
MOST_CORES: Final = 10_000
MOST_PROCESSES: Final = 4_194_304
MOST_FILES: Final = 1_073_741_816


@dataclass(frozen=True, slots=True)
class FormationLimits:
    default_memory: int = key(0, size(0), "The memory of a formation that names none; 0: no limit.")
    max_memory: int = key(
        0, size(0), "The most memory a formation may have, with all its processes; 0: no limit."
    )
    default_memory_soft: int = key(
        0,
        size(0),
        "The resident memory past which a formation that names none is renewed, without losing a request; "
        "0: never.",
    )
    default_cpu: float = key(
        0.0, decimal(0, MOST_CORES), "How many cores' time a formation that names none may use; 0: no limit."
    )
    max_cpu: float = key(
        0.0, decimal(0, MOST_CORES), "The most cores' time a formation may have; 0: no limit."
    )
    default_processes: int = key(
        0,
        integer(0, MOST_PROCESSES),
        "How many processes and threads a formation that names none may have; 0: no limit.",
    )
    max_processes: int = key(
        0, integer(0, MOST_PROCESSES), "The most processes and threads a formation may have; 0: no limit."
    )
    default_open_files: int = key(
        0,
        integer(0, MOST_FILES),
        "How many files each process of one that names none may have open; 0: the server's own limit.",
    )
    max_open_files: int = key(
        0,
        integer(0, MOST_FILES),
        "The most files each process of a formation may have open; 0: the server's own limit.",
    )
    usage_interval: float = key(
        10.0,
        duration(0.5, 3600),
        "How often it is measured what formations use, and whether they are past their soft limits.",
    )
