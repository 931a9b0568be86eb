"""One container of the image, and the server in it as a client outside sees it."""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from muxi.auth.scheme import authorization_header
from tests.image.built import TAG, Docker
from tests.live import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CREDENTIALS = re.compile(r"Key ID: (\S+)\n\s+Secret: (\S+)")
#: Longer than the server takes at most; a stop that needs all of it has failed.
GRACE = "90"


def until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Return once the condition holds. A container has no event for us to wait for."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


@dataclass
class Box:
    """A container that runs, or ran."""

    docker: Docker
    id: str
    url: str = ""
    key: tuple[str, str] = ("", "")
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=DEADLINE, trust_env=False))

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.docker("inspect", self.id))[0]["State"]
        return state

    @property
    def log(self) -> str:
        done = self.docker.attempt("logs", self.id)
        return done.stdout + done.stderr

    def run(self, *command: str, user: str = "") -> str:
        """Run a command inside and return what it prints."""
        return self.docker("exec", *(("--user", user) if user else ()), self.id, *command)

    def stop(self) -> int:
        """End it as `docker stop` does; return its exit status, 137 if it had to be killed."""
        self.docker("stop", "--time", GRACE, self.id)
        status = self.state["ExitCode"]
        assert isinstance(status, int)
        return status

    def ready(self) -> None:
        """Wait until it serves and formations are back. One that has ended instead fails the test."""
        until(lambda: "listening" in self.log or not self.state["Running"], lambda: self.log)
        assert self.state["Running"], self.log
        published = self.docker.attempt("port", self.id, "7890/tcp").stdout.split()
        self.url = self.url or f"http://{published[0]}"
        found = CREDENTIALS.search(self.log)
        if found is not None:
            self.key = (found[1], found[2])
        until(lambda: self.client.get(f"{self.url}/readyz").status_code == 200, lambda: self.log)

    def rpc(self, method: str, path: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        header = authorization_header(*self.key, method, path, int(time.time()))
        everything = {"Authorization": header, **headers}
        return self.client.request(method, self.url + path, content=content, headers=everything)

    def deploy(self, formation_id: str, bundle: bytes) -> None:
        headers = {"Content-Type": "application/gzip", "X-Formation-ID": formation_id}
        answer = self.rpc("POST", "/rpc/formations", bundle, **headers)
        assert answer.status_code == 201, answer.text

    def formation(self, formation_id: str) -> dict[str, object]:
        answer = self.rpc("GET", f"/rpc/formations/{formation_id}")
        assert answer.status_code == 200, answer.text
        data: dict[str, object] = answer.json()["data"]
        return data

    def get(self, path: str) -> httpx.Response:
        return self.client.get(self.url + path)


@contextmanager
def started(docker: Docker, *options: str, url: str = "", key: tuple[str, str] = ("", "")) -> Iterator[Box]:
    """Run a container until the end of the block; its anonymous volumes go with it."""
    published = () if url else ("--publish", "127.0.0.1::7890")
    made = docker("run", "--detach", *published, *options, TAG)
    box = Box(docker, made.strip(), url, key)
    try:
        with box.client:
            box.ready()
            yield box
    finally:
        docker("rm", "--force", "--volumes", box.id)


@contextmanager
def volume(docker: Docker) -> Iterator[str]:
    name = docker("volume", "create").strip()
    try:
        yield name
    finally:
        docker("volume", "rm", "--force", name)


def once(docker: Docker, *options: str, command: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run a container to its end; return its exit status and what it said."""
    done = docker.attempt("run", "--rm", *options, TAG, *command)
    return done.returncode, done.stdout + done.stderr


def in_volume(docker: Docker, name: str, script: str, *, at: str = "/data") -> str:
    """Run a shell script as root on a volume, in a container of the image."""
    mounted = ("--volume", f"{name}:{at}", "--user", "root", "--entrypoint", "sh")
    return docker("run", "--rm", *mounted, TAG, "-euc", script)
