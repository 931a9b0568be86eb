"""A process that has just been started, and all that is needed to take it over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

    from muxi.process.confinement import Confinement
    from muxi.process.spec import ProcessSpec


@dataclass(frozen=True, slots=True)
class Newborn:
    """`log_starts` are the sizes of its output files before: an earlier process's output.

    Whoever takes it over closes the confinement once it has been reaped.
    """

    popen: subprocess.Popen[bytes]
    token: str = field(repr=False)
    spec: ProcessSpec
    log_starts: tuple[int, int]
    confinement: Confinement
