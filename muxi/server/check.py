"""Whether a server could start here, without starting it: what `start --check` asks.

The program that is to take this one's place is asked so first, so that a broken one, or one that
can't read what this one has written, never costs the running service.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from muxi import __version__
from muxi.errors import ConfigError, OperatorError, StorageError
from muxi.proxy.certificates import Certificates
from muxi.registry import store
from muxi.registry.records import decode
from muxi.server import notify

if TYPE_CHECKING:
    import subprocess

    from muxi.config.model import Config
    from muxi.server.program import Program

ANSWER: Final = f"muxi-server {__version__} can start."
CHECK_SECONDS: Final = 60.0
MOST_LINES: Final = 20
"""How much of what the other program has printed is told on."""


def load_certificates(config: Config) -> Certificates | None:
    """Load what `server.tls` names; None where it names nothing. Blocks; raises OperatorError."""
    tls = config.server.tls
    return None if tls.cert is None else Certificates(tls.cert, tls.key, tls.min_version)


def check(config: Config) -> str:
    """Look at what a start needs beside a right configuration, and change nothing. Blocks.

    Returns what `start --check` prints. Raises OperatorError.
    """
    load_certificates(config)
    path = config.paths.data_dir / store.NAME
    try:
        # One that is damaged is set aside by a start, which is no reason not to.
        with suppress(FileNotFoundError, ValueError):
            decode(path.read_bytes())
    except OSError as error:
        raise StorageError(
            f"Could not read {path}: {error.strerror}.", cure="Check its permissions."
        ) from error
    return ANSWER


async def check_program(program: Program) -> str:
    """Ask a program whether it could start as this one was started, and return its answer.

    Raises OperatorError, a ConfigError if it names problems.
    """
    kept = {name: value for name, value in os.environ.items() if name not in notify.VARIABLES}
    result: subprocess.CompletedProcess[bytes] | None = None
    try:
        with trio.move_on_after(CHECK_SECONDS):
            result = await trio.run_process(
                program.checking(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=kept,
            )
    except OSError as error:
        raise OperatorError(
            f"The program {program.path} can't be run: {error.strerror}.",
            cure="Install it there again, then try once more.",
        ) from error
    if result is None:
        raise OperatorError(
            f"The program {program.path} did not say within {CHECK_SECONDS:g} s if it can start."
        )
    answer = result.stdout.decode(errors="replace").strip()
    # Its word, not its status alone: who reaps children for others may have taken that.
    if result.returncode == 0 and answer.endswith(" can start."):
        return answer.splitlines()[-1]
    said = (result.stderr or result.stdout).decode(errors="replace").splitlines()
    raise ConfigError(f"The program {program.path} could not start", tuple(said[-MOST_LINES:]))
