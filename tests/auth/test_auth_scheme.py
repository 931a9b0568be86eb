"""The signing scheme, against constants made with OpenSSL and against every single change."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from muxi.auth.scheme import (
    Credentials,
    authorization_header,
    canonical_message,
    parse_authorization,
    sign,
    signed_path,
    verify,
)

OLD_SECRET = "sk_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
NEW_SECRET = "muxi_sk_00112233445566778899aabbccddeeff00112233445566778899aabb"

# printf '%s' 'T;METHOD;PATH' | openssl dgst -sha256 -hmac SECRET -binary | base64
OPENSSL = [
    (OLD_SECRET, "GET", "/rpc/formations", "hnAWf5GLXNas+dOBTQOmpjPKcP9JBcs/0ew5C2Hvj8c="),
    (NEW_SECRET, "POST", "/rpc/formations/my bot/start", "QXNkP1qr6kJsKF7ykgJQqUeiBJyxclU947z025FNQ8o="),
    (NEW_SECRET, "POST", "/rpc/formations/my%20bot/start", "OPlI8z1Gyb7RjQQ29TYIHPTqYPa40ZvE952OHXMSpGY="),
]
WITH_QUERY = "26HgsUeTpvHae0fwydWP8JR016vFK5iY8kySj3EAzYA="  # of GET /rpc/formations/bot/logs?lines=5

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=16)
methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
paths = st.text(max_size=60).map(lambda text: "/rpc/" + text.replace("?", ""))
times = st.integers(min_value=0, max_value=2**40)


@pytest.mark.parametrize(("secret", "method", "path", "signature"), OPENSSL)
def test_signature_is_the_one_that_openssl_makes(secret: str, method: str, path: str, signature: str) -> None:
    assert sign(secret, "1700000000", method, path) == signature


def test_header_is_the_one_that_the_clients_send() -> None:
    header = authorization_header("MUXI_0123456789abcdef", OLD_SECRET, "get", "/rpc/formations", 1700000000)
    assert header == (
        "MUXI-HMAC key=MUXI_0123456789abcdef, timestamp=1700000000, "
        "signature=hnAWf5GLXNas+dOBTQOmpjPKcP9JBcs/0ew5C2Hvj8c="
    )


def test_the_query_is_not_signed() -> None:
    plain = authorization_header("some-key", OLD_SECRET, "GET", "/rpc/formations", 1700000000)
    assert authorization_header("some-key", OLD_SECRET, "GET", "/rpc/formations?a=1?b", 1700000000) == plain


def test_canonical_message_keeps_the_timestamp_as_sent() -> None:
    assert canonical_message("0012", "get", "/é") == b"0012;GET;/\xc3\xa9"


def test_signed_path_ends_at_the_first_question_mark() -> None:
    assert signed_path("/a/b?c?d") == b"/a/b"
    assert signed_path(b"/a%3Fb") == b"/a%3Fb"


@pytest.mark.parametrize(
    "header",
    [
        "MUXI-HMAC key=k, timestamp=1, signature=s==",
        "MUXI-HMAC signature=s==, timestamp=1, key=k",
        "MUXI-HMAC key=k,timestamp=1,signature=s==",
        "MUXI-HMAC other=x, key=k, other=y, timestamp=1, signature=s==, nonce",
    ],
)
def test_parameters_come_in_any_order_beside_unknown_ones(header: str) -> None:
    assert parse_authorization(header) == Credentials("k", "1", "s==")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer abc",
        "MUXI-HMAC",
        "muxi-hmac key=k, timestamp=1, signature=s",
        "MUXI-HMAC  ",
        "MUXI-HMAC key=k, timestamp=1",
        "MUXI-HMAC key=k, signature=s",
        "MUXI-HMAC timestamp=1, signature=s",
        "MUXI-HMAC Key=k, timestamp=1, signature=s",
        "MUXI-HMAC key=, timestamp=1, signature=s",
        "MUXI-HMAC key=k, timestamp=1, signature=",
        "MUXI-HMAC key=k, key=l, timestamp=1, signature=s",
        "MUXI-HMAC key=k; timestamp=1; signature=s",
    ],
)
def test_malformed_headers_have_no_credentials(header: str) -> None:
    assert parse_authorization(header) is None


@given(st.text())
def test_any_header_is_read_or_refused_without_an_exception(text: str) -> None:
    parse_authorization(text)
    parse_authorization("MUXI-HMAC " + text)


@given(secrets, times, methods, paths)
def test_what_a_client_signs_verifies(secret: str, time: int, method: str, path: str) -> None:
    credentials = parse_authorization(authorization_header("key-1", secret, method, path, time))
    assert credentials is not None
    assert credentials.time == time
    assert verify(secret, credentials, method, path)
    assert verify(secret, credentials, method.lower(), path + "?lines=5&follow=true")


@given(secrets, times, methods, paths, st.data())
def test_any_single_change_fails(secret: str, time: int, method: str, path: str, data: st.DataObject) -> None:
    credentials = Credentials("key-1", str(time), sign(secret, str(time), method, path))
    other_method = data.draw(methods)
    other_path, other_secret, other_time = data.draw(paths), data.draw(secrets), data.draw(times)
    assume(other_method != method and other_path != path and other_secret != secret and other_time != time)
    # A change between the two forms of the same path is none: both name one resource.
    assume("%" not in path and "%" not in other_path)
    position = data.draw(st.integers(0, 31))
    flipped = bytearray(base64.b64decode(credentials.signature))
    flipped[position] ^= data.draw(st.integers(1, 255))
    assert verify(secret, credentials, method, path)
    assert not verify(secret, credentials, other_method, path)
    assert not verify(secret, credentials, method, other_path)
    assert not verify(other_secret, credentials, method, path)
    assert not verify(secret, replace(credentials, timestamp=str(other_time)), method, path)
    forged = base64.b64encode(flipped).decode()
    assert not verify(secret, replace(credentials, signature=forged), method, path)


def test_a_path_may_be_signed_as_sent_or_decoded() -> None:
    for _, method, _, signature in OPENSSL[1:]:
        credentials = Credentials("k", "1700000000", signature)
        assert verify(NEW_SECRET, credentials, method, "/rpc/formations/my%20bot/start?x=1")
        assert verify(NEW_SECRET, credentials, method, b"/rpc/formations/my%20bot/start")


def test_a_path_signed_with_its_query_is_refused() -> None:
    credentials = Credentials("k", "1700000000", WITH_QUERY)
    assert sign(NEW_SECRET, "1700000000", "GET", "/rpc/formations/bot/logs?lines=5") == WITH_QUERY
    assert not verify(NEW_SECRET, credentials, "GET", "/rpc/formations/bot/logs?lines=5")


def test_text_that_no_client_can_send_does_not_verify_and_does_not_crash() -> None:
    credentials = Credentials("k\ud800", "1\udcff", "é\udfff")
    assert not verify(NEW_SECRET, credentials, "GET", "/\ud800%ff%")


@pytest.mark.parametrize(
    ("text", "time"),
    [("0", 0), ("1700000000", 1700000000), ("-5", -5), ("+5", 5), ("007", 7)]
    + [(bad, None) for bad in ("", "1.5", "1_000", " 1", "1e9", "0x10", "٣", "9" * 19, "now")],
)
def test_time_is_an_integer_or_nothing(text: str, time: int | None) -> None:
    assert Credentials("k", text, "s").time == time


def test_the_signature_is_not_in_the_repr() -> None:
    assert "c2lnbmF0dXJl" not in repr(Credentials("k", "1", "c2lnbmF0dXJl"))
