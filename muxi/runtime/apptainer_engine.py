"""Which engine for the runtime's images is installed: Apptainer, else SingularityCE."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from typing import Final

import trio

TIMEOUT: Final = 5.0
OLDEST: Final = {"APPTAINER": (1, 1), "SINGULARITY": (3, 10)}
"""The first versions that take values of variables as they are (`--no-eval`)."""

_VERSION = re.compile(r"(\S+) version (\d+(?:\.\d+){1,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Engine:
    """`prefix` is that of the variables which it reads: APPTAINER, SINGULARITY."""

    program: str
    name: str
    version: tuple[int, ...]
    prefix: str

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))}"


class EngineFinder:
    """Looks on a PATH, and asks what it finds; again when the program there has changed."""

    def __init__(self, search_path: str) -> None:
        self._search_path = search_path
        self._seen: tuple[tuple[str, int], Engine | str] | None = None

    async def find(self) -> Engine | str:
        """Return the engine, or in words why there is none. Asked again when the program has changed."""
        if sys.platform != "linux":
            return "it runs on Linux only"
        program = next(
            filter(
                None, (shutil.which(name, path=self._search_path) for name in ("apptainer", "singularity"))
            ),
            None,
        )
        if program is None:
            return "neither apptainer nor singularity is installed"
        key = program, os.stat(program).st_mtime_ns  # noqa: PTH116 - one look, not a walk
        if self._seen is None or self._seen[0] != key:
            self._seen = key, await ask(program, self._search_path)
        return self._seen[1]


async def ask(program: str, search_path: str) -> Engine | str:
    """Ask an engine who it is; return in words what is wrong with it."""
    with trio.move_on_after(TIMEOUT):
        try:
            done = await trio.run_process(
                [program, "--version"],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env={"PATH": search_path},
            )
        except OSError as error:
            return f"{program} can't be run: {error.strerror}"
        return read_version(program, done.stdout.decode(errors="replace"))
    return f"{program} gave no answer within {TIMEOUT:g} s"


def read_version(program: str, said: str) -> Engine | str:
    """Read an engine's word: "apptainer version 1.3.4", "singularity-ce version 4.1.0-jammy"."""
    match = _VERSION.match(said)
    if match is None:
        return f"{program} does not say its version"
    prefix = "APPTAINER" if match[1] == "apptainer" else "SINGULARITY"
    version = tuple(map(int, match[2].split(".")))
    if version < OLDEST[prefix]:
        oldest = ".".join(map(str, OLDEST[prefix]))
        return f"{program} is version {match[2]}, and {oldest} is the oldest that will do"
    return Engine(program, match[1], version, prefix)
