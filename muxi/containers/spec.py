"""What is needed to run one container: a process's specification, and what only an engine has to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from muxi.process.spec import ProcessSpec

if TYPE_CHECKING:
    from pathlib import Path

Privileges = Literal["none", "namespaces", "privileged"]
"""What a container may do that others may not. `namespaces`: make user namespaces and mount in them,
which is what a runner of SIF images needs; it holds no capability all the same."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory or file of this machine, and where it is seen inside."""

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec(ProcessSpec):
    """The full specification of a container; a restart uses it whole.

    `argv` is the command given to the image's entrypoint, () for the image's own. `port` is the one on
    this machine; `inner_port` the one inside, None: the one that the image says
    (`muxi.containers.body`). `image` names it so that it never is another one: by digest or id.
    `entrypoint` and `workdir` None leave the image's own. `as_server`: it runs as the server's own user
    and group, not as whom its image names. `platform` is as `linux/amd64`, "" for the machine's own.
    """

    image: str
    mounts: tuple[Mount, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    workdir: str | None = None
    as_server: bool = True
    inner_port: int | None = None
    network: str = ""
    platform: str = ""
    gpus: bool = False
    privileges: Privileges = "none"
