"""Our own server, as anyone would run it, with the two services deployed as native formations."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from bench.children import BenchError, free_port, running
from bench.machine import find_program
from bench.peers.peer import HOST, Missing, Peer, through
from muxi.auth.scheme import authorization_header

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "bench" / "upstream"
KEY = "muxi_pk_" + "0123456789abcdef01234567"
SECRET = "muxi_sk_" + "fedcba98" * 7
DEADLINE = 60.0

CONFIG = """
server_id: server-bench-00000000
server: {{host: 127.0.0.1, port: {port}}}
auth:
  keys:
    - {{id: {key}, secret: {secret}}}
formations:
  port_range: [{first}, {end}]
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the server may write, where it and the services run, how long the large bodies are."""

    directory: Path
    proxy_cores: frozenset[int]
    load_cores: frozenset[int]
    bulk: int


@dataclass(frozen=True, slots=True)
class Host:
    """The server and its formations' ports."""

    peer: Peer
    static_port: int
    live_port: int


@contextmanager
def start(site: Site) -> Iterator[Host]:
    """Run the server and deploy both services. Raises BenchError, Missing."""
    nginx = find_program("nginx")
    if nginx is None:
        raise Missing("nginx, which serves the small document, is not installed")
    port = free_port()
    _write_config(site.directory, port)
    argv = (sys.executable, "-m", "muxi", "start")
    with running(
        "muxi", argv, port=port, directory=site.directory, cores=site.proxy_cores, env=_environment(site)
    ) as pid:
        yield Host(
            through("muxi", port, pid, alone=True),
            _deploy(port, site, "bench-static", "serve_static.py", {"BENCH_NGINX": nginx}),
            _deploy(port, site, "bench-live", "serve_live.py", {}),
        )


def _write_config(directory: Path, port: int) -> None:
    (directory / "config").mkdir()
    path = directory / "config" / "config.yaml"
    path.touch(0o600)
    # The whole range that systems don't give out: the server itself passes over ports in use.
    path.write_text(CONFIG.format(port=port, key=KEY, secret=SECRET, first=20_000, end=30_000))


def _environment(site: Site) -> dict[str, str]:
    own = {
        f"MUXI_{name.upper()}_DIR": str(site.directory / name) for name in ("config", "data", "log", "cache")
    }
    return {**own, "HOME": str(site.directory), "PYTHONPATH": str(ROOT)}


def _deploy(port: int, site: Site, name: str, script: str, env: dict[str, str]) -> int:
    """Deploy a service and wait until it is healthy; give its port."""
    (site.directory / name).mkdir()
    manifest = {
        "id": name,
        "name": name,
        "version": "1.0.0",
        "command": [sys.executable, script],
        "env": {
            "BENCH_DIRECTORY": str(site.directory / name),
            "BENCH_CORES": ",".join(map(str, sorted(site.load_cores))),
            "BENCH_BULK": str(site.bulk),
            **env,
        },
    }
    content = _bundle(
        {"formation.afs": json.dumps(manifest).encode(), script: (SCRIPTS / script).read_bytes()}
    )
    _call(port, "POST", "/rpc/formations", content, name)
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = _call(port, "GET", f"/rpc/formations/{name}")["data"]
        assert isinstance(found, dict)
        if found["status"] == "running" and found["healthy"]:
            return int(found["port"])
        time.sleep(0.05)
    raise BenchError(f"{name} is not healthy after {DEADLINE:g} s; see the logs in {site.directory}")


def _call(port: int, method: str, path: str, content: bytes = b"", name: str = "") -> dict[str, object]:
    headers = {"Authorization": authorization_header(KEY, SECRET, method, path, int(time.time()))}
    if content:
        headers |= {"Content-Type": "application/gzip", "X-Formation-ID": name}
    url = f"http://{HOST}:{port}{path}"
    try:
        with httpx.Client(timeout=DEADLINE, trust_env=False) as client:
            answer = client.request(method, url, content=content, headers=headers)
    except httpx.HTTPError as error:
        raise BenchError(f"muxi did not answer {method} {path}: {error}") from error
    if answer.is_error:
        raise BenchError(f"{method} {path} was answered with {answer.status_code}: {answer.text}")
    found: dict[str, object] = answer.json()
    return found


def _bundle(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()
