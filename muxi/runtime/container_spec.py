"""What the specifications of containers have in common, whatever is in them. Pure."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final

from muxi.containers.body import HOST_NAME, LOOPBACK
from muxi.containers.spec import ContainerSpec
from muxi.process.spec import ProcessSpec
from muxi.runtime.process_spec import make_spec, own_variables, server_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.containers.spec import Mount, Privileges
    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Surroundings

RELEASE: Final = "/formation"
STATE: Final = "/state"
ALL_ADDRESSES: Final = "0.0.0.0"  # noqa: S104 - inside the container; outside, loopback alone

_THIS_MACHINE = re.compile(r"(?<=://)(?:localhost|127\.0\.0\.1|\[::1\])(?=[:/]|$)")


def seen_from_inside(url: str) -> str:
    """Return the URL by which a container reaches what listens on this machine."""
    return _THIS_MACHINE.sub(HOST_NAME, url)


def container_spec(
    program: Program,
    around: Surroundings,
    *,
    argv: tuple[str, ...],
    image: str,
    mounts: tuple[Mount, ...],
    env: Mapping[str, str] | None = None,
    workdir: str | None = None,
    inner_port: int | None = None,
    network: str = "",
    as_server: bool = True,
    platform: str = "",
    gpus: bool = False,
    privileges: Privileges = "none",
) -> ContainerSpec:
    """Put a specification together; `env` are further variables, over which the manifest's win.

    The image's own variables stay, PATH among them. Raises RequestError as `own_variables` does.
    """
    inside = replace(around, host=ALL_ADDRESSES, server_url=seen_from_inside(around.server_url))
    told = {name: seen_from_inside(value) for name, value in server_variables(program, inside).items()}
    base = make_spec(
        program,
        replace(around, host=LOOPBACK),
        argv=argv,
        cwd=mounts[0].source,
        env={
            "PYTHONUNBUFFERED": "1",
            "MUXI_ENV": "production",
            **(env or {}),
            **own_variables(program, around.extra_env),
            **told,
        },
    )
    return ContainerSpec(
        **{field.name: getattr(base, field.name) for field in fields(ProcessSpec)},
        image=image,
        mounts=mounts,
        workdir=workdir,
        inner_port=inner_port,
        network=network,
        as_server=as_server,
        platform=platform,
        gpus=gpus,
        privileges=privileges,
    )
