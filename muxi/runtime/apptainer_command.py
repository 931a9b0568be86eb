"""Apptainer's command line and environment, made of facts. Pure.

`--containall` gives it a minimal /dev, a /tmp, PIDs and an environment of its own, and mounts neither the
user's home nor the directory we are in; so what it needs is mounted one by one. `--no-privs` takes
every capability from root, and no_new_privs comes with that.

The formation's variables go in by the engine's own environment, as APPTAINERENV_NAME: a command
line is everybody's to read, an environment is its owner's alone, and no file with secrets in it
is left by a crash. `--no-eval` keeps the engine from reading `$` and backquotes in them.

The release is mounted writable: the runtime makes its key there. Its links to the state files,
`../../state/memory.db`, lead to /state from /formation. HOME is set within, as the engine lets nobody set it
from without. SingularityCE takes the same flags.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from muxi.process.procfs import TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from muxi.runtime.apptainer_engine import Engine

FORMATION: Final = "/formation"
STATE: Final = "/state"
GPU_FLAGS: Final = {"cuda": "--nv", "rocm": "--rocm"}
"""What lets a variant of the runtime reach the machine's GPUs."""

_RUN: Final = ("env", f"HOME={STATE}", "python", "-m", "muxi.runtime.utils.run_formation", FORMATION)


@dataclass(frozen=True, slots=True)
class Mount:
    source: Path
    target: str
    writable: bool = False

    def __str__(self) -> str:
        """Write it as the engine reads it: one record of CSV, so that any path can be in it."""
        fields = ["type=bind", f"source={self.source}", f"destination={self.target}"]
        written = io.StringIO()
        csv.writer(written, lineterminator="").writerow(fields if self.writable else [*fields, "ro"])
        return written.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What one container is made of; `scratch` holds its temporary files, `mounts` are further ones."""

    image: Path
    variant: str
    release: Path
    state: Path
    scratch: Path
    mounts: tuple[Mount, ...] = ()
    path_first: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


def command(engine: Engine, container: Container, host: str, port: int) -> tuple[str, ...]:
    """Return the command that runs a formation."""
    gpu = GPU_FLAGS.get(container.variant)
    mounts = (
        Mount(container.release, FORMATION, writable=True),
        Mount(container.state, STATE, writable=True),
        *container.mounts,
    )
    return (
        engine.program,
        "--quiet",
        "exec",
        "--containall",
        "--cleanenv",
        "--pid",
        "--no-privs",
        "--no-eval",
        *((gpu,) if gpu else ()),
        "--no-home",
        "--workdir",
        str(container.scratch),
        *(word for mount in mounts for word in ("--mount", str(mount))),
        "--pwd",
        FORMATION,
        str(container.image),
        *_RUN,
        "--port",
        str(port),
        "--host",
        host,
    )


def environment(engine: Engine, container: Container, search_path: str, home: Path) -> dict[str, str]:
    """Return the engine's environment; `home` is where it keeps its own files, in place of the user's."""
    prefix = engine.prefix
    given = {f"{prefix}ENV_{name}": value for name, value in container.env.items()}
    if container.path_first:
        given[f"{prefix}ENV_PREPEND_PATH"] = container.path_first
    return {
        "PATH": search_path,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        f"{prefix}_CONFIGDIR": str(home / "config"),
        f"{prefix}_CACHEDIR": str(home / "cache"),
        **given,
    }


def token_variables(engine: Engine) -> tuple[str, ...]:
    """Return the variables by which the processes inside get the token that marks them as ours."""
    return (f"{engine.prefix}ENV_{TOKEN_VARIABLE}",)
