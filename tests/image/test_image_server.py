"""The image as its user meets it: first start, a formation, a chat, a new container on the same volume."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.image.built import ROOT
from tests.image.container import CREDENTIALS, in_volume, once, started, until, volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.image.built import Docker
    from tests.image.container import Box

HEALTH = ("--health-interval", "1s", "--health-timeout", "1m", "--health-retries", "1")


@pytest.fixture(scope="module")
def kept(docker: Docker) -> Iterator[str]:
    with volume(docker) as name:
        yield name


@pytest.fixture(scope="module")
def box(docker: Docker, kept: str) -> Iterator[Box]:
    with started(docker, *HEALTH, "--volume", f"{kept}:/data") as one:
        yield one


def agent() -> bytes:
    """Pack the example whose answers stream."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(ROOT / "examples" / "hello-agent", "hello-agent")
    return packed.getvalue()


def health(box: Box) -> str:
    return str(box.state["Health"]["Status"])


def last_check(box: Box) -> str:
    return max((str(one["End"]) for one in box.state["Health"]["Log"]), default="")


def test_it_says_which_version_it_is(docker: Docker) -> None:
    status, said = once(docker, command=("version",))
    assert (status, said.split()[:2]) == (0, ["MUXI", "Server"])


def test_the_first_start_makes_credentials_and_shows_them(box: Box) -> None:
    assert len(CREDENTIALS.findall(box.log)) == 1
    assert box.rpc("GET", "/rpc/server/status").status_code == 200
    owners = box.run("stat", "-c", "%a %u:%g", "/data/config/config.yaml", "/data/formations", "/data/logs")
    assert owners.splitlines() == ["600 10001:10001", "700 10001:10001", "700 10001:10001"]


def test_it_is_the_first_process_and_not_root(box: Box) -> None:
    assert box.run("readlink", "/proc/1/cwd").strip() == "/data"
    assert box.run("cat", "/proc/1/cmdline").split("\0")[-2] == "start"
    facts = dict(line.split(":\t", 1) for line in box.run("cat", "/proc/1/status").splitlines())
    assert facts["Uid"].split() == ["10001"] * 4
    assert facts["Gid"].split() == ["10001"] * 4
    assert facts["CapEff"].strip("0") == ""


def test_a_formation_is_deployed_and_chats(box: Box) -> None:
    box.deploy("hello-agent", agent())
    chat = f"{box.url}/api/hello-agent/v1/chat"
    plain = box.client.post(chat, json={"message": "are you there", "stream": False})
    assert "You said: are you there." in plain.json()["response"]
    with box.client.stream("POST", chat, json={"message": "are you there"}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-2] == "event: done"
    tokens = [json.loads(line.removeprefix("data: "))["token"]["content"] for line in lines[:-2]]
    assert len(tokens) > 10
    assert "".join(tokens).strip() == plain.json()["response"]


def test_the_command_line_inside_finds_the_server(box: Box) -> None:
    assert "hello-agent" in box.run("muxi-server", "formation", "list")
    assert "Running: 1" in box.run("muxi-server", "status")
    assert "hello-agent listens on" in box.run("muxi-server", "formation", "logs", "hello-agent")


def test_it_becomes_healthy_and_is_not_when_it_hangs(box: Box) -> None:
    until(lambda: health(box) == "healthy", lambda: str(box.state["Health"]))
    host_pid = int(box.state["Pid"])
    os.kill(host_pid, signal.SIGSTOP)
    try:
        until(lambda: health(box) == "unhealthy", lambda: str(box.state["Health"]))
    finally:
        os.kill(host_pid, signal.SIGCONT)
    until(lambda: health(box) == "healthy", lambda: str(box.state["Health"]))


def test_a_health_check_leaves_no_audit_line(box: Box) -> None:
    assert box.rpc("GET", "/rpc/formations").status_code == 200
    audited, checked = box.run("cat", "/data/logs/audit.log"), last_check(box)
    until(lambda: last_check(box) > checked, lambda: str(box.state["Health"]))
    assert box.run("cat", "/data/logs/audit.log") == audited


def test_a_new_container_on_the_same_volume_goes_on(docker: Docker, box: Box, kept: str) -> None:
    assert box.stop() == 0, box.log
    with started(docker, "--volume", f"{kept}:/data", key=box.key) as second:
        assert CREDENTIALS.findall(second.log) == [], "they are shown once"
        assert second.formation("hello-agent")["status"] == "running"
        answer = second.get("/api/hello-agent/v1/health")
        assert answer.json()["status"] == "healthy"
        assert second.stop() == 0, second.log
    assert box.key[1] not in in_volume(docker, kept, "cat /data/logs/*.log /data/registry.json")
