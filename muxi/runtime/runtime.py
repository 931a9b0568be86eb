"""What a runtime is: one way in which a formation becomes a process. Each has a file of its own here.

A formation is run in three steps. `muxi.runtime.choice` says which runtime it is; that one
*prepares*: downloads, builds and resolves what is missing, which may take minutes and be
cancelled at any moment, and touches nothing of the formation; what it has *prepared* makes the
specification of a process for any port, at once and as often as it is started again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from muxi.process.limits import NO_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from muxi.process.health import HealthCheck
    from muxi.process.limits import Limits
    from muxi.process.placement import Placement
    from muxi.process.spec import ProcessSpec
    from muxi.runtime.pin import Pin
    from muxi.runtime.program import Program


class Report(Protocol):
    """Tells whoever waits what is being done. `fields` are the optional ones of a progress event."""

    def __call__(self, stage: str, message: str, **fields: object) -> None: ...


def tell_nobody(stage: str, message: str, **fields: object) -> None:
    """Be the `Report` of what nobody watches."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a runtime can be used on this machine.

    `version` and `detail` (the path of its program, the address of its engine) are of what was
    found; `problem` says why it can't be used, `cure` what to do about it.
    """

    name: str
    available: bool
    version: str = ""
    detail: str = ""
    problem: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be run: a program in a release's directory, whose state lies in another.

    `pin` is what the same release was run on before; it is then run on that and nothing else.
    """

    program: Program
    release_dir: Path
    state_dir: Path
    pin: Pin | None = None
    report: Report = tell_nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the server gives to a process: its name, its address, its files, its limits.

    `search_path` is the PATH it gets and in which its program is looked for, unless its manifest
    sets PATH; `extra_env` are further variables of the server's, which its manifest may not set.
    `defaults` and `stop_timeout` (seconds) hold where the manifest says nothing.
    """

    process_id: str
    host: str
    port: int
    server_url: str
    stdout: Path
    stderr: Path
    defaults: HealthCheck
    stop_timeout: float
    search_path: str
    extra_env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A formation that can be started here.

    `pin` is what was chosen and resolved, to be kept with the release; `description` says it in
    words. `spec` makes the specification of a process; it asks the disk for programs only, and
    raises MuxiError. `placement` is where processes of it run; None: on this machine, as children.
    `models` is the directory below which its process puts the models that it fetches, if it does.
    """

    pin: Pin
    description: str
    spec: Callable[[Surroundings], ProcessSpec]
    placement: Placement | None = None
    models: Path | None = None


class Runtime(Protocol):
    """One way to run formations. Used by many formations' tasks at once."""

    @property
    def name(self) -> str: ...

    async def presence(self) -> Presence:
        """Look whether it can be used here; soon, and it can be left at any moment. Raises only Cancelled."""

    def check(self, program: Program, release_dir: Path) -> None:
        """Say what would keep the program from running on it, without network or change. Blocks.

        Raises MuxiError.
        """

    async def prepare(self, request: Request) -> Prepared:
        """Have everything at hand that a start needs.

        Raises MuxiError, and has then left nothing half done; also when it is cancelled.
        """
