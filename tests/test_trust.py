"""The authorities of this machine are found, also by an OpenSSL that looks elsewhere."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from muxi.trust import no_trust, system_trust

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    path = tmp_path / "bundle.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return str(path)


def authorities(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509_ca"]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none.d"))


@pytest.mark.usefixtures("elsewhere")
def test_where_openssl_finds_nothing_a_bundle_of_the_system_is_taken(bundle: str) -> None:
    context = system_trust(["/nowhere/ca.pem", bundle])
    assert authorities(context) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.usefixtures("elsewhere")
def test_where_there_is_none_at_all_nobody_is_believed() -> None:
    context = system_trust(["/nowhere/ca.pem"])
    assert authorities(context) == 0
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_what_the_environment_names_goes_before(
    bundle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none.d"))
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    trustme.CA().cert_pem.write_to_path(other, append=True)
    assert authorities(system_trust([str(other)])) == 1


def test_the_one_without_authorities_refuses_all() -> None:
    context = no_trust()
    assert authorities(context) == 0
    assert context.verify_mode is ssl.CERT_REQUIRED
