"""Starting a program on given cores, and ending it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

START_SECONDS = 30.0
END_SECONDS = 20.0


class BenchError(Exception):
    """Something that was to be measured did not work; the message is for whoever runs the bench."""


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Run on these cores; what is started meanwhile stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(
    name: str,
    argv: Sequence[str],
    *,
    port: int,
    directory: Path,
    cores: frozenset[int],
    env: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Run a program until the end of the block; begins when it listens. Gives its pid.

    Its output goes to `{name}.log` in the directory. Raises BenchError.
    """
    log = directory / f"{name}.log"
    with log.open("wb") as output, pinned(cores):
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, **(env or {})},
        )
    try:
        _wait_until_listening(name, process, port, log)
        yield process.pid
    except BenchError as error:
        if process.poll() is not None:
            raise BenchError(
                f"{error}; {name} ended with {process.returncode}: {_last_lines(log)}"
            ) from error
        raise
    finally:
        _end(process)


def free_port() -> int:
    """Give a port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _wait_until_listening(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _listens(port):
        if process.poll() is not None:
            raise BenchError(f"{name} ended with {process.returncode}: {_last_lines(log)}")
        if time.monotonic() > deadline:
            raise BenchError(f"{name} does not listen after {START_SECONDS:g} s: {_last_lines(log)}")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _last_lines(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").splitlines()[-5:])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
