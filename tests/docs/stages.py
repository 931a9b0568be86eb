"""Where a page's commands are run: a directory with what the page speaks of, and a shell in it.

`live`: a server with hello-agent on it runs, shared by all such pages; `fresh`: nothing does, and nobody
has been here; `original`: the home of one who has used the Go server.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.live import ROOT, free_ports
from tests.program import muxi_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.docs.blocks import Block

SECONDS: Final = 150
PORT: Final = "7890"
"""What the pages write for the public port; another one is put in its place."""
BEGINNING: Final = """
set -eu
background=
trap 'status=$?; [ -z "$background" ] || kill $background; wait; exit $status' EXIT
trap 'exit 143' TERM
exec_in_background() { "$@" </dev/null & background="$background $!"; }
"""
"""Whatever a page leaves running is ended, in good order, before its shell is."""
WAIT: Final = """
tries=0
until curl -fsS http://127.0.0.1:{port}/readyz >/dev/null 2>&1; do
    tries=$((tries + 1)); [ $tries -lt 600 ] || exit 98; sleep 0.05
done
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A directory to stand in, and the environment of the shell; `port` is the server's."""

    directory: Path
    environment: dict[str, str]
    port: int


def program_directory(directory: Path) -> Path:
    """Make a directory with `muxi-server` in it: this checkout, or the binary under test."""
    made = directory / "bin"
    made.mkdir()
    words = " ".join(f"'{word}'" for word in muxi_command())
    (made / "muxi-server").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    (made / "muxi-server").chmod(0o755)
    return made


def plain_environment(directory: Path, port: int, ports: tuple[int, int]) -> dict[str, str]:
    """Return the environment of one who has nothing of ours: a home, and ports that are free."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MUXI_")}
    path = (program_directory(directory), Path(sys.executable).parent, os.environ["PATH"])
    return {
        **kept,
        "HOME": str(directory),
        "PATH": os.pathsep.join(map(str, path)),
        "PYTHONPATH": str(ROOT),
        "MUXI_PORT": str(port),
        "MUXI_HOST": "127.0.0.1",
        "MUXI_PORT_START": str(ports[0]),
        "MUXI_PORT_END": str(ports[1]),
    }


def fresh(directory: Path) -> Stage:
    """Make a home in which nothing of ours has ever been, with a checkout's examples beside it."""
    start, end = free_ports()
    with_examples(directory)
    return Stage(directory, plain_environment(directory, start, (start + 1, end)), start)


def with_examples(directory: Path) -> None:
    """Put the examples there, and agents under the names that the pages call them by."""
    shutil.copytree(ROOT / "examples", directory / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("my-agent", "other-agent", "third-agent"):
        agent = directory / name
        shutil.copytree(directory / "examples" / "hello-agent", agent)
        manifest = agent / "formation.afs"
        manifest.write_text(manifest.read_text().replace("id: hello-agent", f"id: {name}"))


def script(page: Sequence[Block], port: int) -> str:
    """Write what the shell is given: the blocks in order, each noted before it begins."""
    lines = [BEGINNING]
    for block in page:
        assert block.mark is not None
        text = block.text.replace(PORT, str(port))
        lines.append(f"echo {block.line} > .block; echo --- {block}")
        if block.mark.background:
            lines += [f"exec_in_background {text}", WAIT.format(port=port)]
        elif block.mark.status:
            lines += ["set +e", text, f"[ $? = {block.mark.status} ] || exit 99", "set -e"]
        else:
            lines.append(text)
    return "\n".join(lines)


def play(stage: Stage, page: Sequence[Block]) -> str:
    """Run the blocks of a page, and return what they have printed. Raises AssertionError with the place."""
    printed = stage.directory / "printed"
    with printed.open("w") as out, shell(stage, script(page, stage.port), out.fileno()) as process:
        status = process.wait(SECONDS)
    text = printed.read_text(errors="replace")
    place = f"{page[0].page}:{(stage.directory / '.block').read_text().strip()}"
    assert status == 0, f"{place} ended with {status}:\n{text[-5000:]}"
    return text


@contextmanager
def shell(stage: Stage, text: str, output: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script as a process group of its own, which is ended at the end with all that it began."""
    process = subprocess.Popen(
        ["sh", "-c", text],
        cwd=stage.directory,
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
