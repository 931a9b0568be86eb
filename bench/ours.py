"""Our own server for a measurement: its configuration, and what is asked of its management API."""

from __future__ import annotations

import io
import json
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from bench.children import BenchError
from bench.peers.peer import HOST
from muxi.auth.scheme import authorization_header

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
KEY = "muxi_pk_" + "0123456789abcdef01234567"
SECRET = "muxi_sk_" + "fedcba98" * 7
DEADLINE = 300.0

CONFIG = """
server_id: server-bench-00000000
server: {{host: 127.0.0.1, port: {port}, workers: {workers}}}
auth:
  keys:
    - {{id: {key}, secret: {secret}}}
formations:
  port_range: [{first}, {end}]
{more}
"""


@dataclass(frozen=True, slots=True)
class Management:
    """The management API of the server on that port of this machine."""

    port: int

    def deploy(self, formation_id: str, manifest: Mapping[str, object], files: Mapping[str, bytes]) -> None:
        """Deploy a formation; returns once it is healthy. Raises BenchError."""
        fields = {"id": formation_id, "name": formation_id, "version": "1.0.0", **manifest}
        content = _bundle({"formation.afs": json.dumps(fields).encode(), **files})
        self.send_bundle("POST", "/rpc/formations", content, formation_id)

    def send_bundle(self, method: str, path: str, bundle: bytes, formation_id: str) -> None:
        """Deploy or update; returns once it is healthy. Raises BenchError."""
        headers = {"Content-Type": "application/gzip", "X-Formation-ID": formation_id}
        self.call(method, path, bundle, headers)

    def formation(self, formation_id: str) -> dict[str, object]:
        """Say how a formation stands. Raises BenchError."""
        found = self.call("GET", f"/rpc/formations/{formation_id}")["data"]
        assert isinstance(found, dict)
        return found

    def call(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, object]:
        """Send one signed request, return the answer's document. Raises BenchError."""
        signature = authorization_header(KEY, SECRET, method, path, int(time.time()))
        everything = {"Authorization": signature, **(headers or {})}
        url = f"http://{HOST}:{self.port}{path}"
        try:
            with httpx.Client(timeout=DEADLINE, trust_env=False, verify=False) as client:
                answer = client.request(method, url, content=content, headers=everything)
        except httpx.HTTPError as error:
            raise BenchError(f"muxi did not answer {method} {path}: {error}") from error
        if answer.is_error:
            raise BenchError(f"{method} {path} was answered with {answer.status_code}: {answer.text}")
        found: dict[str, object] = answer.json()
        return found


def write_config(directory: Path, port: int, more: str = "", *, workers: int = 1) -> None:
    """Write the configuration that `environment` points at; `more` goes below `formations:`."""
    (directory / "config").mkdir()
    path = directory / "config" / "config.yaml"
    path.touch(0o600)
    # The whole range that systems don't give out: the server itself passes over ports in use.
    text = CONFIG.format(
        port=port, workers=workers, key=KEY, secret=SECRET, first=20_000, end=30_000, more=more
    )
    path.write_text(text)


def environment(directory: Path) -> dict[str, str]:
    """Give the variables by which the server keeps everything below the directory."""
    own = {f"MUXI_{name.upper()}_DIR": str(directory / name) for name in ("config", "data", "log", "cache")}
    return {**own, "HOME": str(directory), "PYTHONPATH": str(ROOT)}


def _bundle(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()
