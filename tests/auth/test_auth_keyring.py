"""Who gets in, and what the others are told: the table of http-api.md 2, in its order."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.auth.credentials import KeyPair
from muxi.auth.keyring import Keyring
from muxi.auth.scheme import authorization_header
from muxi.errors import Unauthorized

FIRST = KeyPair("MUXI_0123456789abcdef", "sk_" + "0a" * 32)
SECOND = KeyPair("muxi_pk_00112233445566778899aabb", "muxi_sk_" + "1b" * 28)
STRANGER = KeyPair("muxi_pk_ffffffffffffffffffffffff", "muxi_sk_" + "2c" * 28)
NOW = 1_700_000_000.75
PATH = "/rpc/formations/bot"
RING = Keyring([FIRST, SECOND], tolerance=300)

EXPIRED = "Request expired (timestamp too old or in future)"
MALFORMED = "Invalid authorization header format"


def header(pair: KeyPair, offset: int = 0, path: str = PATH) -> str:
    return authorization_header(pair.id, pair.secret, "GET", path, int(NOW) + offset)


def refusal(authorization: str | None, ring: Keyring = RING) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        ring.authenticate(authorization, "GET", PATH, NOW)
    return caught.value


@pytest.mark.parametrize("pair", [FIRST, SECOND])
def test_each_key_gets_in_under_its_own_id(pair: KeyPair) -> None:
    assert RING.authenticate(header(pair), "GET", PATH + "?limit=5", NOW) == pair.id


def test_the_same_header_gets_in_again() -> None:
    # The SDKs repeat it in their retries, so nothing may remember it.
    sent = header(FIRST)
    assert [RING.authenticate(sent, "GET", PATH, NOW + second) for second in range(3)] == [FIRST.id] * 3


FORGED = header(KeyPair(FIRST.id, STRANGER.secret))
TABLE = [
    ("no header", None, "Missing authorization header"),
    ("empty header", "", "Missing authorization header"),
    ("another scheme", "Bearer abc", MALFORMED),
    ("wrong case", header(FIRST).replace("MUXI-HMAC", "Muxi-Hmac"), MALFORMED),
    ("no key", header(FIRST).replace("key=", "k="), MALFORMED),
    ("no timestamp", header(FIRST).replace("timestamp=", "t="), MALFORMED),
    ("no signature", header(FIRST).replace("signature=", "s="), MALFORMED),
    ("unknown key", header(STRANGER), "Invalid key"),
    ("unknown key, also expired", header(STRANGER, -4000), "Invalid key"),
    ("another known key's secret", header(KeyPair(FIRST.id, SECOND.secret)), "Invalid signature"),
    ("timestamp no integer", header(FIRST).replace("timestamp=", "timestamp=x"), EXPIRED),
    ("too old", header(FIRST, -301), EXPIRED),
    ("in the future", header(FIRST, 301), EXPIRED),
    ("expired, also forged", header(KeyPair(FIRST.id, STRANGER.secret), -301), EXPIRED),
    ("wrong secret", FORGED, "Invalid signature"),
    ("another path", header(FIRST, path="/rpc/formations/other"), "Invalid signature"),
    ("signature no base64", header(FIRST)[:-20] + "!", "Invalid signature"),
    ("signature without padding", header(FIRST).rstrip("="), "Invalid signature"),
]


@pytest.mark.parametrize(("sent", "message"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_failures_have_the_messages_of_the_contract_in_its_order(sent: str | None, message: str) -> None:
    error = refusal(sent)
    assert (error.status, error.code, error.message) == (401, "Unauthorized", message)
    assert error.cure


@pytest.mark.parametrize("offset", [-300, -1, 0, 1, 300])
def test_the_tolerance_is_inclusive_both_ways(offset: int) -> None:
    assert RING.authenticate(header(FIRST, offset), "GET", PATH, NOW) == FIRST.id


@pytest.mark.parametrize(("offset", "words"), [(900, "900 s ahead of"), (-301, "301 s behind")])
def test_a_wrong_clock_is_told_the_time_and_its_offset(offset: int, words: str) -> None:
    error = refusal(header(FIRST, offset))
    assert error.details == {
        "code_name": "clock_skew",
        "server_time": 1_700_000_000,
        "offset_seconds": offset,
    }
    assert words in (error.cure or "")


def test_a_timestamp_that_is_no_integer_is_no_clock_skew() -> None:
    assert refusal(header(FIRST).replace("timestamp=", "timestamp=x")).details == {}


def test_strangers_learn_nothing_of_the_clock() -> None:
    assert refusal(header(STRANGER, -4000)).details == {}


def test_a_ring_without_keys_lets_nobody_in() -> None:
    assert refusal(header(FIRST), Keyring([])).message == "Invalid key"


def test_the_stand_in_for_unknown_keys_is_no_key() -> None:
    assert refusal(header(KeyPair("", "")), Keyring([])).message == MALFORMED


@given(st.text(max_size=200), st.sampled_from(["key", "timestamp", "signature", "other"]))
def test_no_header_crashes_it_or_comes_back(text: str, name: str) -> None:
    error = refusal(f"MUXI-HMAC {text}, {name}=CANARY{text}, key=CANARY, timestamp=CANARY, signature=CANARY")
    assert "CANARY" not in f"{error} {error.cure} {error.details}"


@pytest.mark.parametrize("sent", [row[1] for row in TABLE if row[1]])
def test_nothing_sent_is_repeated_or_logged(sent: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        error = refusal(sent)
    told = f"{error!r} {error.cure} {error.details} {caplog.text}"
    for secret in (FIRST.id, STRANGER.id, FIRST.secret, sent.rpartition("signature=")[2]):
        assert secret not in told


def test_the_repr_holds_no_key_and_ids_are_known() -> None:
    assert repr(RING) == "<Keyring of 2 keys>"
    assert RING.key_ids == (FIRST.id, SECOND.id)
