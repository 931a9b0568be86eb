"""What a release was found to run on, kept with it so that it runs on the same for ever."""

from __future__ import annotations

import msgspec


class Pin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A runtime, and what exactly of it.

    `version` is the exact one, where the runtime has versions; `artifact` names what was made or
    fetched for it: an environment's key, an image's digest. `reason` is why this one was chosen,
    for people.
    """

    runtime: str
    version: str = ""
    artifact: str = ""
    reason: str = ""
