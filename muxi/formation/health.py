"""A manifest's `health:` block: how the formation wants to be asked how it is. Pure.

Either one path, or a mapping; what it does not name is as the server's settings say.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from muxi.config.values import parse_integer
from muxi.runtime.program import HealthOptions, ProbeOptions

if TYPE_CHECKING:
    from muxi.formation.fields import Fields

COMMON: Final = ("path", "timeout", "interval", "startup_timeout", "unhealthy_threshold")
READINESS: Final = ("path", "timeout", "interval", "threshold")
LIVENESS: Final = (*READINESS, "grace")
_MOST_FAILURES: Final = 1000


def read_health(manifest: Fields) -> HealthOptions:
    """Read the block; every problem in it is noted, unknown names among them."""
    if manifest.is_single("health"):
        return HealthOptions(path=manifest.path("health"))
    block = manifest.group("health", (*COMMON, "readiness", "liveness"))
    if block is None:
        return HealthOptions()
    return HealthOptions(
        path=block.path("path"),
        timeout=block.duration("timeout"),
        interval=block.duration("interval"),
        startup_timeout=block.duration("startup_timeout"),
        unhealthy_threshold=block.value("unhealthy_threshold", partial(_failures, least=1)),
        readiness=_question(block.group("readiness", READINESS), least=1),
        liveness=_question(block.group("liveness", LIVENESS), least=0),
    )


def _question(block: Fields | None, least: int) -> ProbeOptions:
    if block is None:
        return ProbeOptions()
    return ProbeOptions(
        path=block.path("path"),
        timeout=block.duration("timeout"),
        interval=block.duration("interval"),
        threshold=block.value("threshold", partial(_failures, least=least)),
        grace=block.duration("grace"),
    )


def _failures(text: str, least: int) -> int:
    return parse_integer(text, least, _MOST_FAILURES)
