"""`start` as the person at the terminal sees it: the first time, with a wrong file, beside another."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from muxi.auth.scheme import authorization_header
from tests.integration.outside import configure, muxi, until
from tests.live import DEADLINE, environment, running
from tests.program import muxi_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URL = re.compile(r"url=(http://\S+)")
PAIR = re.compile(r"(muxi_pk_\w+|MUXI_[0-9a-f]{16})[\s\S]*?(muxi_sk_\w+|sk_[0-9a-f]{64})")


@dataclass
class Started:
    """A server started by hand, and what it has written so far."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    @property
    def url(self) -> str:
        """Its address, once it is in the log."""
        until(lambda: bool(URL.search(self.stderr.read_text())), "the server listens")
        found = URL.search(self.stderr.read_text())
        assert found is not None
        return f"http://127.0.0.1:{found[1].rpartition(':')[2]}"


@contextmanager
def start(directory: Path, name: str) -> Iterator[Started]:
    stdout, stderr = directory / f"{name}.out", directory / f"{name}.err"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            muxi_command("start", "--port", "0", "--host", "127.0.0.1"),
            stdout=out,
            stderr=err,
            cwd=directory,
            env=environment(directory),
        )
    try:
        yield Started(process, stdout, stderr)
    finally:
        process.terminate()
        assert process.wait(DEADLINE) == 0


def test_the_first_start_makes_a_configuration_and_tells_the_credentials_once(tmp_path: Path) -> None:
    with start(tmp_path, "first") as first:
        url = first.url
        told = PAIR.search(first.stdout.read_text())
        assert told is not None
        key, secret = told.groups()
        assert first.stdout.read_text().count(secret) == 1
        assert secret not in first.stderr.read_text()
        config = tmp_path / "config" / "config.yaml"
        assert config.stat().st_mode & 0o777 == 0o600
        with httpx.Client(trust_env=False) as client:
            assert client.get(f"{url}/rpc/formations").status_code == 401
            header = authorization_header(key, secret, "GET", "/rpc/formations", int(time.time()))
            assert client.get(f"{url}/rpc/formations", headers={"Authorization": header}).status_code == 200
    written = config.read_text()
    with start(tmp_path, "second") as second:
        assert second.url
        assert secret not in second.stdout.read_text() + second.stderr.read_text()
    assert config.read_text() == written


def test_all_that_is_wrong_in_a_configuration_is_told_at_once(tmp_path: Path) -> None:
    wrong = {
        "server": {"port": "eighty"},
        "formations": {"port_range": [9000, 8000], "restart_dleay": "1s"},
        "logging": {"level": "loud"},
    }
    configure(tmp_path, wrong)
    before = set(tmp_path.rglob("*"))
    done = muxi(tmp_path, "start")
    assert done.returncode == 2
    for part in (
        "config.yaml",
        "server.port",
        "eighty",
        "port_range",
        "restart_dleay",
        "logging.level",
        "loud",
    ):
        assert part in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert "muxi_sk_" not in done.stderr + done.stdout
    assert set(tmp_path.rglob("*")) == before, "something was made"


def test_a_configuration_without_a_key_does_not_run_open(tmp_path: Path) -> None:
    configure(tmp_path, {"auth": {"keys": []}})
    done = muxi(tmp_path, "start")
    assert done.returncode == 2
    assert "auth" in done.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        configure(tmp_path, {"server": {"port": port}})
        done = muxi(tmp_path, "start")
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        done = muxi(tmp_path, "start")
        assert done.returncode == 1
        assert str(server.data) in done.stderr
        assert server.get("/ping").text == "pong"
