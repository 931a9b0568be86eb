"""How a process is asked whether it has come up, can serve, and lives: plain values.

Three questions, as different things follow from their answers. *Start-up*: has it come up? If
not within its budget, the start has failed. *Readiness*: can it serve now? If not, requests go
elsewhere or wait, and the process is left alone. *Liveness*: does it live at all? If not, it is
ended and started anew, which nothing less would mend.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PATHS = ("/v1/health", "/health")


@dataclass(frozen=True, slots=True)
class StartUp:
    """Asked every `interval` from the start on, sooner at first, for at most `budget` seconds.

    Here and below, `paths` are tried in order, the next one only when the one before answers 404;
    any 2xx is good; `timeout` is the time for one answer. All times are seconds.
    """

    paths: tuple[str, ...] = PATHS
    interval: float = 1.0
    timeout: float = 5.0
    budget: float = 60.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Asked every `interval`; `threshold` bad answers in a row and it is unhealthy.

    An unhealthy one is asked as often as one that starts, and the first good answer heals it.
    """

    paths: tuple[str, ...] = PATHS
    interval: float = 30.0
    timeout: float = 5.0
    threshold: int = 3


@dataclass(frozen=True, slots=True)
class Liveness:
    """Without `paths`, any answer at all to the question of readiness is a sign of life.

    With paths of its own, only a good one is. `threshold` failures in a row and it is taken for
    hung; 0: never. While requests are under way to it, it is not, unless nothing else told of life
    either for `grace` seconds: no byte moved, no CPU time used.
    """

    paths: tuple[str, ...] = ()
    interval: float = 30.0
    timeout: float = 5.0
    threshold: int = 3
    grace: float = 60.0


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The three questions together."""

    start_up: StartUp = field(default_factory=StartUp)
    readiness: Readiness = field(default_factory=Readiness)
    liveness: Liveness = field(default_factory=Liveness)
