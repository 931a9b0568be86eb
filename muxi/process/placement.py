"""Where processes run: how one is started there, found again by a later server, and ended.

On this machine they are children (`muxi.process.spawn`, `muxi.process.adopted`); an engine that
keeps them for us is another place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from muxi.process.handle import Handle
    from muxi.process.spec import ProcessSpec
    from muxi.registry.records import ProcessRecord


class Placement(Protocol):
    """One place. `record` is what the registry holds of a process."""

    @property
    def name(self) -> str:
        """What the registry's records call it; never empty: that is this machine."""

    async def start(self, spec: ProcessSpec) -> Handle:
        """Start a process, marked by the specification's token. Raises MuxiError; nothing is left then."""

    async def adopt(self, record: ProcessRecord, spec: ProcessSpec) -> Handle | None:
        """Take over a process of an earlier server; None unless it is proved to be that one, and alive."""

    async def end_leftover(self, record: ProcessRecord, grace: float) -> bool:
        """End what an earlier server left, if it is proved ours; say whether it is all gone.

        `grace` is the seconds between asking and killing. The record may hold a token alone.
        """
