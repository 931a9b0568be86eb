"""What any service manager has to know of the server, and what each of them can do with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DESCRIPTION: Final = "MUXI Server"
DOCUMENTATION: Final = "https://muxi.org/docs"
OPEN_FILES: Final = 65535
RESTART_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Definition:
    """How the server is run. `command` begins with an absolute path, and lacks its last word, `start`.

    `user` is who it runs as, where the manager is the whole machine's; None: the manager's own.
    `stop_seconds` is how long its end may take. `writes` are the directories that it writes to.
    """

    command: tuple[str, ...]
    stop_seconds: int
    log_dir: Path
    user: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    writes: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """How the service stands."""

    installed: bool
    running: bool
    starts_with_machine: bool
    file: Path
    detail: str = ""


class ServiceManager(Protocol):
    """A manager of services, of this user or of the machine. All methods block, and raise OperatorError."""

    name: str
    file: Path

    def install(self, definition: Definition) -> list[str]:
        """Have it run now and from now on; return remarks for the person who asked."""
        ...

    def uninstall(self) -> bool:
        """End it and forget it; False: it was not there."""
        ...

    def condition(self) -> Condition: ...
