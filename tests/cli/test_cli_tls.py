"""The command line's way to a server that speaks HTTPS with a certificate of its own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

from muxi.cli.client import ServerClient
from muxi.cli.settings import server_trust, server_url
from muxi.config.model import Config, Paths, TlsConfig, defaults
from muxi.errors import MuxiError
from muxi.proxy.certificates import Certificates
from tests.proxy.house import open_house

if TYPE_CHECKING:
    from pathlib import Path


def configured(directory: Path, port: int, tls: TlsConfig) -> Config:
    config = defaults(Paths(directory, directory, directory, directory, directory / "config.yaml"))
    return replace(config, server=replace(config.server, port=port, tls=tls))


async def answer(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"success": true, "data": {"x": 1}}'})


async def test_the_configured_certificate_is_what_is_trusted(tmp_path: Path) -> None:
    pair = trustme.CA().issue_cert("public.example")
    both = tmp_path / "both.pem"
    both.write_bytes(pair.private_key_and_cert_chain_pem.bytes())
    other = tmp_path / "other.pem"
    other.write_bytes(trustme.CA().issue_cert("public.example").private_key_and_cert_chain_pem.bytes())
    async with open_house(answer, certificates=Certificates(both)) as house:

        def ask(cert: Path) -> object:
            config = configured(tmp_path, house.port, TlsConfig(cert=cert))
            with ServerClient(server_url(config), None, trust=server_trust(config)) as client:
                return client.get("/rpc/x")

        assert await trio.to_thread.run_sync(partial(ask, both)) == {"x": 1}
        with pytest.raises(MuxiError):
            await trio.to_thread.run_sync(partial(ask, other))


def test_without_a_certificate_it_is_plain_http(tmp_path: Path) -> None:
    config = configured(tmp_path, 7890, TlsConfig())
    assert server_url(config) == "http://127.0.0.1:7890"
    assert server_trust(config) is None


def test_a_certificate_that_can_not_be_read_leaves_the_systems_trust(tmp_path: Path) -> None:
    config = configured(tmp_path, 7890, TlsConfig(cert=tmp_path / "none.pem"))
    assert server_url(config) == "https://127.0.0.1:7890"
    assert server_trust(config) is None
