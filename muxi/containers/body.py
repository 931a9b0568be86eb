"""What is sent to the engine to make a container. Pure.

Nothing is given that the formation does not need: the port is published on loopback only, no new
privileges can be gained, capabilities are dropped, and variables go in the request's body, never on
a command line. An engine's own health check and restarts are off: both are the supervisor's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxi.errors import FormationFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.containers.spec import ContainerSpec
    from muxi.containers.wire import ImageFacts

LOOPBACK: Final = "127.0.0.1"
HOST_NAME: Final = "host.docker.internal"
"""The name by which a container reaches this machine."""

SERVER_LABEL: Final = "ai.muxi.server"
FORMATION_LABEL: Final = "ai.muxi.formation"
TOKEN_LABEL: Final = "ai.muxi.token"  # noqa: S105 - a label's name

LOG_OPTIONS: Final = {"max-size": "10m", "max-file": "3"}
"""The engine's own copy of the output, from which ours is made: what a server that is away may miss."""

ROOT_NEEDS_NOT: Final = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SYS_CHROOT")
"""What engines give to root by default, and no service needs."""


def inner_port(spec: ContainerSpec, image: ImageFacts) -> int:
    """Say on which port the program inside is to listen.

    An image that exposes one port listens there, whether it reads PORT or not. Of several, it is the one
    that its own PORT names. One that exposes none reads PORT. Raises FormationFailed when that
    leaves it open.
    """
    if spec.inner_port is not None:
        return spec.inner_port
    config = image.config
    exposed = sorted(
        int(name.partition("/")[0])
        for name in (config.exposed_ports or {} if config is not None else {})
        if name.partition("/")[2] in {"", "tcp"} and name.partition("/")[0].isdecimal()
    )
    if len(exposed) == 1:
        return exposed[0]
    own = dict(item.partition("=")[::2] for item in (config.env or () if config is not None else ()))
    named = own.get("PORT", "")
    if named.isdecimal() and (int(named) in exposed or not exposed):
        return int(named) or spec.port
    if exposed:
        raise FormationFailed(
            f"The image exposes several ports ({', '.join(map(str, exposed))}), and does not say which one "
            "is the formation's.",
            code="SpawnError",
            stage="spawning",
            cure="Have it expose the one port only, or set PORT in the image (ENV PORT=...).",
        )
    return spec.port


def create_body(
    spec: ContainerSpec, image: ImageFacts, known_by: Mapping[str, str], user: str | None
) -> dict[str, object]:
    """Make the body of POST /containers/create; `known_by` are its labels. Raises FormationFailed.

    `user` is a user and group by number; None: as the image says.
    """
    port = inner_port(spec, image)
    env = {**spec.env, "PORT": str(port), "_port": str(port)}
    body: dict[str, object] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Labels": dict(known_by),
        "Hostname": spec.process_id.replace(".", "-")[:63].rstrip("-"),
        "ExposedPorts": {f"{port}/tcp": {}},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host(spec, port, _own_user(image) if user is None else user),
    }
    optional = {
        "Cmd": list(spec.argv) or None,
        "Entrypoint": None if spec.entrypoint is None else list(spec.entrypoint),
        "WorkingDir": spec.workdir,
        "User": user,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def labels(server_id: str, process_id: str, token_sha256: str) -> dict[str, str]:
    """Return by what a container is known as ours: the token itself is nowhere."""
    return {SERVER_LABEL: server_id, FORMATION_LABEL: process_id, TOKEN_LABEL: token_sha256}


def _host(spec: ContainerSpec, port: int, user: str) -> dict[str, object]:
    limits = spec.limits
    host: dict[str, object] = {
        "PortBindings": {f"{port}/tcp": [{"HostIp": LOOPBACK, "HostPort": str(spec.port)}]},
        "Init": True,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": LOG_OPTIONS},
        "ExtraHosts": [f"{HOST_NAME}:host-gateway"],
        "Mounts": [
            {"Type": "bind", "Source": str(one.source), "Target": one.target, "ReadOnly": one.read_only}
            for one in spec.mounts
        ],
        **_privileges(spec, user),
    }
    if spec.network:
        host["NetworkMode"] = spec.network
    if limits.memory:
        host |= {"Memory": limits.memory, "MemorySwap": limits.memory}  # the same: no swap beside it
    if limits.cpu:
        host["NanoCpus"] = int(limits.cpu * 1e9)
    if limits.processes:
        host["PidsLimit"] = limits.processes
    if limits.open_files:
        files = {"Name": "nofile", "Soft": limits.open_files, "Hard": limits.open_files}
        host["Ulimits"] = [files]
    if spec.gpus:
        host["DeviceRequests"] = [{"Count": -1, "Capabilities": [["gpu"]]}]
    return host


def _own_user(image: ImageFacts) -> str:
    return "" if image.config is None else image.config.user


def _privileges(spec: ContainerSpec, user: str) -> Mapping[str, object]:
    if spec.privileges == "privileged":
        return {"Privileged": True}
    is_root = user.partition(":")[0] in {"", "0", "root"}
    held: dict[str, object] = {
        "CapDrop": list(ROOT_NEEDS_NOT) if is_root and spec.privileges == "none" else ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
    }
    if spec.privileges == "namespaces":
        # The engines' filters forbid to make namespaces and to mount in them, and their masks over /proc
        # forbid to mount another one; the image's file system is mounted by FUSE.
        held["SecurityOpt"] = ["no-new-privileges", "seccomp=unconfined", "apparmor=unconfined"]
        held |= {"MaskedPaths": [], "ReadonlyPaths": []}
        fuse = {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}
        held["Devices"] = [fuse]
    return held


def environment_problem(env: Mapping[str, str]) -> str | None:
    """Say what keeps variables from being passed; the engine itself would cut them short."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            return f"the variable '{name}' can't be passed: no '=' in names, no NUL characters"
    return None
