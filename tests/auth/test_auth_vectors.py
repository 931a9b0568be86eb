"""The published test vectors of contributing/auth.md: what we do is what they say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from muxi.auth.credentials import KeyPair, check_id, check_secret
from muxi.auth.keyring import EXPIRED, MALFORMED, MISMATCH, MISSING, UNKNOWN_KEY, Keyring
from muxi.auth.scheme import SCHEME, authorization_header, canonical_message, parse_authorization, verify
from muxi.errors import Unauthorized

CONTRIBUTING = Path(__file__).parents[2] / "contributing"
VECTORS: dict[str, Any] = json.loads((CONTRIBUTING / "auth-vectors.json").read_text("utf-8"))
SECRETS = {key["id"]: key["secret"] for key in VECTORS["keys"]}
PAGE = (CONTRIBUTING / "auth.md").read_text("utf-8")

signatures = pytest.mark.parametrize("row", VECTORS["signatures"], ids=lambda row: row["name"])
requests = pytest.mark.parametrize("row", VECTORS["requests"], ids=lambda row: row["name"])


def keyring() -> Keyring:
    pairs = (KeyPair(check_id(key), check_secret(secret)) for key, secret in SECRETS.items())
    return Keyring(pairs, VECTORS["tolerance_seconds"])


@signatures
def test_a_signature_verifies(row: dict[str, str]) -> None:
    credentials = parse_authorization(row["authorization"])
    assert credentials is not None
    assert (credentials.key, credentials.timestamp) == (row["key"], row["timestamp"])
    assert credentials.signature == row["signature"]
    assert verify(SECRETS[row["key"]], credentials, row["method"], row["target"])
    now = float(row["timestamp"])
    assert keyring().authenticate(row["authorization"], row["method"], row["target"], now) == row["key"]


@signatures
def test_it_is_what_a_client_makes_of_its_message(row: dict[str, str]) -> None:
    """As the official SDKs do it, in the four lines that it takes them, and none of ours."""
    digest = hmac.new(SECRETS[row["key"]].encode(), row["message"].encode(), hashlib.sha256).digest()
    signature = base64.b64encode(digest).decode()
    assert signature == row["signature"]
    assert row["authorization"] == (
        f"MUXI-HMAC key={row['key']}, timestamp={row['timestamp']}, signature={signature}"
    )


@signatures
def test_our_own_client_signs_what_it_sends(row: dict[str, str]) -> None:
    if "as it is read" in row["name"] or "as they are read" in row["name"]:
        pytest.skip("the server takes this, but our client signs what it sends")
    path = row["target"].partition("?")[0]
    assert canonical_message(row["timestamp"], row["method"], path) == row["message"].encode()
    made = authorization_header(
        row["key"], SECRETS[row["key"]], row["method"], row["target"], int(row["timestamp"])
    )
    assert made == row["authorization"]


@signatures
def test_openssl_makes_the_same(row: dict[str, str]) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    command = [openssl, "dgst", "-sha256", "-hmac", SECRETS[row["key"]], "-binary"]
    done = subprocess.run(command, input=row["message"].encode(), capture_output=True, check=True)
    assert base64.b64encode(done.stdout).decode() == row["signature"]


@requests
def test_a_request_is_let_in_or_told_why_not(row: dict[str, Any]) -> None:
    arguments = (row["authorization"], row["method"], row["target"], float(row["now"]))
    if row["reason"] is None:
        assert keyring().authenticate(*arguments) == row["key"]
        return
    assert row["key"] is None
    with pytest.raises(Unauthorized) as refusal:
        keyring().authenticate(*arguments)
    assert refusal.value.message == row["reason"]


def test_every_reason_has_its_vectors() -> None:
    reasons = {row["reason"] for row in VECTORS["requests"]} - {None}
    assert reasons == {MISSING, MALFORMED, UNKNOWN_KEY, EXPIRED, MISMATCH}
    assert f"{VECTORS['scheme']} " == SCHEME
    assert len({row["name"] for row in VECTORS["requests"]}) == len(VECTORS["requests"])


def test_the_page_shows_them() -> None:
    """Its example is a vector, and its table tells each reason as the server does."""
    example = VECTORS["signatures"][0]
    for text in (SECRETS[example["key"]], example["message"], example["authorization"]):
        assert text in PAGE
    for reason in (MISSING, MALFORMED, UNKNOWN_KEY, EXPIRED, MISMATCH):
        assert f"| `{reason}` |" in PAGE
