"""All that decides what an environment holds, and the key that two of the same share. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from muxi.environment.requirements import LOCK

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.config.environments import EnvironmentsConfig
    from muxi.environment.interpreter import Interpreter
    from muxi.environment.requirements import Requirements

KEY_LENGTH: Final = 24
_FORM: Final = 1
"""To be changed when environments are made in another way, and old ones are no good any more."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Requirements, the directory whose files they speak of, an interpreter, and the settings."""

    requirements: Requirements
    root: Path
    interpreter: Interpreter
    settings: EnvironmentsConfig

    @property
    def key(self) -> str:
        """Name what is made of it: the same name for the same content.

        Which installer makes it does not count, so that one that is installed later makes nothing
        anew. What names files of its bundle is that bundle's alone.
        """
        settings, interpreter = self.settings, self.interpreter
        decides = {
            "form": _FORM,
            "lines": self.requirements.lines,
            "source": self.requirements.source == LOCK,
            "root": str(self.root) if self.requirements.local else "",
            "python": [str(interpreter.real), interpreter.version, interpreter.abi],
            "index": [settings.index_url, *sorted(settings.extra_index_urls)],
            "find_links": sorted(settings.find_links),
            "no_index": settings.no_index,
            "require_hashes": settings.require_hashes,
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]
