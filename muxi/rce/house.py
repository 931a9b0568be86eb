"""What the server gives to the code runner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxi.images.rce import RceImages
    from muxi.process.handle import Handle
    from muxi.process.instance import Instance
    from muxi.process.placement import Placement
    from muxi.process.restart import RestartPolicy
    from muxi.process.spec import ProcessSpec
    from muxi.process.usage import Usage
    from muxi.registry.ports import PortPool
    from muxi.registry.records import ProcessRecord
    from muxi.runtime.apptainer_engine import EngineFinder
    from muxi.runtime.catalogue import Runtimes
    from muxi.runtime.runtime import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The functions are asked at each use, as the server's settings may have changed.

    `images` are the code runner's image files, `engines` finds what runs them, and `may_download`
    says whether a missing one is fetched. `take_over` gives an earlier server's process, if a
    record proves that it is that one, and alive; `end_left` ends one, and says whether it is all
    gone; `recorded` gives what is to be written of an instance, made of its mark. `surroundings`
    are those of a process on a port.
    """

    runtimes: Runtimes
    images: RceImages
    engines: EngineFinder
    ports: PortPool
    may_download: Callable[[], bool]
    spawn: Callable[[ProcessSpec, Placement | None], Awaitable[Handle]]
    take_over: Callable[[ProcessRecord, ProcessSpec], Awaitable[Handle | None]]
    end_left: Callable[[ProcessRecord], Awaitable[bool]]
    recorded: Callable[[ProcessRecord, Instance], ProcessRecord]
    usage: Callable[[Instance], Usage | None]
    surroundings: Callable[[int], Surroundings]
    policy: Callable[[], RestartPolicy]
