"""What the server gives to the code runner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxi.process.confinement import Confiner
    from muxi.process.handle import Handle
    from muxi.process.placement import Placement
    from muxi.process.restart import RestartPolicy
    from muxi.process.spec import ProcessSpec
    from muxi.registry.ports import PortPool
    from muxi.registry.records import ProcessRecord
    from muxi.runtime.catalogue import Runtimes
    from muxi.runtime.runtime import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The functions are asked at each start, as the server's settings may have changed.

    `search_path` is the PATH on which engines for image files are looked for; `surroundings` are
    those of a process on a port. `take_over` gives an earlier server's process, if a record proves
    that it is that one, and alive; `end_left` ends one, and says whether it is all gone.
    """

    runtimes: Runtimes
    confiner: Confiner
    ports: PortPool
    search_path: str
    spawn: Callable[[ProcessSpec, Placement | None], Awaitable[Handle]]
    take_over: Callable[[ProcessRecord, ProcessSpec], Awaitable[Handle | None]]
    end_left: Callable[[ProcessRecord], Awaitable[bool]]
    surroundings: Callable[[int], Surroundings]
    policy: Callable[[], RestartPolicy]
