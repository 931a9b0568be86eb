from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muxi.containers.body import create_body, environment_problem, inner_port
from muxi.containers.spec import ContainerSpec, Mount
from muxi.containers.wire import ImageConfig, ImageFacts
from muxi.errors import FormationFailed
from muxi.process.limits import Limits

SPEC = ContainerSpec(
    process_id="hello.dev",
    argv=("serve",),
    cwd=Path("/x"),
    host="127.0.0.1",
    port=8001,
    stdout=Path("/o"),
    stderr=Path("/e"),
    env={"A": "1", "PORT": "8001"},
    image="agent:1",
    mounts=(Mount(Path("/r"), "/formation"), Mount(Path("/s"), "/state", read_only=False)),
    workdir="/formation",
)


def image(*ports: str, env: tuple[str, ...] = (), user: str = "") -> ImageFacts:
    config = ImageConfig(exposed_ports=dict.fromkeys(ports), env=env, user=user)
    return ImageFacts(id="sha256:1", config=config)


def host(spec: ContainerSpec, user: str | None = None, of: ImageFacts | None = None) -> dict[str, object]:
    made = create_body(spec, of or image(), {}, user)["HostConfig"]
    assert isinstance(made, dict)
    return made


@pytest.mark.parametrize(
    ("ports", "env", "wanted"),
    [
        ((), (), 8001),
        (("8080/tcp",), (), 8080),
        (("8080/tcp", "53/udp"), (), 8080),
        (("80/tcp", "443/tcp"), ("PORT=443",), 443),
        ((), ("PORT=3000",), 3000),
    ],
)
def test_the_image_says_on_which_port_it_listens(
    ports: tuple[str, ...], env: tuple[str, ...], wanted: int
) -> None:
    found = image(*ports, env=env)
    assert inner_port(SPEC, found) == wanted
    assert inner_port(replace(SPEC, inner_port=9), found) == 9


def test_an_image_with_several_ports_has_to_say_which() -> None:
    with pytest.raises(FormationFailed, match=r"several ports \(80, 443\)") as caught:
        inner_port(SPEC, image("80/tcp", "443/tcp"))
    assert "ENV PORT" in (caught.value.cure or "")


def test_an_image_of_which_nothing_is_known_reads_port() -> None:
    assert inner_port(SPEC, ImageFacts(id="x")) == 8001


def test_the_port_is_published_on_loopback_alone_and_told_inside() -> None:
    body = create_body(SPEC, image("8080/tcp"), {"ai.muxi.token": "x"}, "5:6")
    assert body["ExposedPorts"] == {"8080/tcp": {}}
    assert body["Env"] == ["A=1", "PORT=8080", "_port=8080"]
    assert (body["Cmd"], body["User"], body["Hostname"]) == (["serve"], "5:6", "hello-dev")
    assert "Entrypoint" not in body
    made = host(SPEC, of=image("8080/tcp"))
    assert made["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8001"}]}
    assert made["Mounts"] == [
        {"Type": "bind", "Source": "/r", "Target": "/formation", "ReadOnly": True},
        {"Type": "bind", "Source": "/s", "Target": "/state", "ReadOnly": False},
    ]


def test_limits_are_the_engine_s_to_hold() -> None:
    limits = Limits(memory=1 << 20, cpu=1.5, processes=7, open_files=9)
    made = host(replace(SPEC, limits=limits))
    assert (made["Memory"], made["MemorySwap"], made["NanoCpus"]) == (1 << 20, 1 << 20, 1_500_000_000)
    assert (made["PidsLimit"], made["Ulimits"]) == (7, [{"Name": "nofile", "Soft": 9, "Hard": 9}])
    assert not {"Memory", "NanoCpus", "PidsLimit", "Ulimits"} & host(SPEC).keys()


@pytest.mark.parametrize(
    ("user", "of", "dropped"),
    [
        ("1000:1000", image(), ["ALL"]),
        (None, image(user="node"), ["ALL"]),
        ("0:0", image(user="node"), ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SYS_CHROOT"]),
        (None, image(), ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SYS_CHROOT"]),
    ],
)
def test_who_is_not_root_holds_no_capability(user: str | None, of: ImageFacts, dropped: list[str]) -> None:
    made = host(SPEC, user, of)
    assert made["CapDrop"] == dropped
    assert made["SecurityOpt"] == ["no-new-privileges"]
    assert "Privileged" not in made


def test_a_runner_may_make_namespaces_and_holds_no_capability() -> None:
    made = host(replace(SPEC, privileges="namespaces"), "0:0")
    assert made["CapDrop"] == ["ALL"]
    assert made["SecurityOpt"] == ["no-new-privileges", "seccomp=unconfined", "apparmor=unconfined"]
    assert (made["MaskedPaths"], made["ReadonlyPaths"]) == ([], [])
    assert "Privileged" not in made


def test_all_is_given_only_where_the_operator_says_so() -> None:
    assert host(replace(SPEC, privileges="privileged"))["Privileged"] is True


@pytest.mark.parametrize("env", [{"": "x"}, {"a=b": "x"}, {"a": "x\0y"}])
def test_variables_that_would_become_others_are_found(env: dict[str, str]) -> None:
    assert environment_problem(env)
    assert environment_problem({"a": "b=c"}) is None
