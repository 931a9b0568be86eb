"""The proxies of docs/production.md, run with the very text that stands there."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest
import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

NAME: Final = "agents.example.com"
CERTIFICATE: Final = "/etc/muxi/tls/fullchain.pem"
KEY: Final = "/etc/muxi/tls/privkey.pem"
SECONDS: Final = 60

NGINX: Final = """
daemon off;
worker_processes 1;
pid {home}/pid;
error_log {home}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
{page}
}}
"""
CADDY: Final = "{{\n    admin off\n    auto_https disable_redirects\n}}\n{page}\n"


@dataclass(frozen=True, slots=True)
class Front:
    """A proxy that runs, and whom to believe."""

    port: int
    trust: ssl.SSLContext

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), SECONDS)
        return self.trust.wrap_socket(plain, server_hostname=NAME)


def program(name: str) -> str:
    """Return a program's path; skip where it is not installed."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed here (Debian: nginx-core, caddy, logrotate)")
    return found


@contextmanager
def nginx(page: str, upstream: int, home: Path) -> Iterator[Front]:
    """Run nginx with the page's configuration, on a port of ours, with certificates of ours."""
    command = program("nginx")
    trust, changes = _certificates(home)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        changes |= {"listen 443 ": f"listen 127.0.0.1:{port} ", ":7890": f":{upstream}"}
        config = home / "nginx.conf"
        config.write_text(NGINX.format(home=home, page=_changed(page, changes)))
        # As at an upgrade, it takes over the listening socket: so the port is free, and ready at once.
        variables = {**os.environ, "NGINX": f"{listening.fileno()};"}
        words = [command, "-p", str(home), "-c", str(config), "-e", str(home / "error.log")]
        with _running(words, variables, home, listening.fileno()):
            yield Front(port, trust)


@contextmanager
def caddy(page: str, upstream: int, port: int, home: Path) -> Iterator[Front]:
    """Run Caddy with the page's configuration, on a port of ours, with certificates of ours."""
    command = program("caddy")
    trust, changes = _certificates(home)
    certificates = f"bind 127.0.0.1\n    tls {changes[CERTIFICATE]} {changes[KEY]}"
    config = home / "Caddyfile"
    config.write_text(
        CADDY.format(
            page=_changed(
                page, {f"{NAME} {{": f"https://{NAME}:{port} {{\n    {certificates}", ":7890": f":{upstream}"}
            )
        )
    )
    words = [command, "run", "--config", str(config), "--adapter", "caddyfile"]
    with _running(words, {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home)}, home) as process:
        _wait_for(port, process, home)
        yield Front(port, trust)


def _certificates(home: Path) -> tuple[ssl.SSLContext, dict[str, str]]:
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    certificate.private_key_pem.write_to_path(home / "privkey.pem")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(home / "fullchain.pem", append=True)
    return trust, {CERTIFICATE: str(home / "fullchain.pem"), KEY: str(home / "privkey.pem")}


def _changed(page: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in page, f"the page does not say {old} any more"
        page = page.replace(old, new)
    return page


@contextmanager
def _running(
    words: Sequence[str], variables: Mapping[str, str], home: Path, *passed: int
) -> Iterator[subprocess.Popen[bytes]]:
    with (home / "said").open("wb") as said:
        process = subprocess.Popen(words, env=dict(variables), pass_fds=passed, stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((home / "said").read_text()) from None
            time.sleep(0.05)
        else:
            return
