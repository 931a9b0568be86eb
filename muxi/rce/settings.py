"""What the configuration says of the code runner, as it is needed here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.config.model import Config

PROCESS_ID: Final = "muxi-rce"
"""The name of its process and its logs; no formation may have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RceSettings:
    """Two that are equal ask for the same process. Without a token there is to be none.

    `home` holds its image files and its cache.
    """

    port: int
    token: str = field(repr=False)
    home: Path
    command: tuple[str, ...] = ()
    image: str = ""

    @classmethod
    def of(cls, config: Config) -> RceSettings:
        rce = config.rce
        return cls(
            port=rce.port,
            token=rce.auth_token,
            home=config.paths.data_dir / rce.data_dir / "rce",
            command=rce.command,
            image=rce.image,
        )

    @property
    def cache(self) -> Path:
        return self.home / "cache"
