from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.auth.credentials import KeyPair, check_id, check_secret, generate, mask_id, mask_secret
from muxi.auth.scheme import authorization_header, parse_authorization

GOOD = [
    ("MUXI_0123456789abcdef", "sk_" + "0" * 64),
    ("muxi_pk_0123456789abcdef01234567", "muxi_sk_" + "f" * 56),
    ("ci@build", "correct=horse;battery"),
]


def test_a_new_pair_has_the_format_of_the_documents() -> None:
    pair = generate()
    assert re.fullmatch(r"muxi_pk_[0-9a-f]{24}", pair.id)
    assert re.fullmatch(r"muxi_sk_[0-9a-f]{56}", pair.secret)
    assert (check_id(pair.id), check_secret(pair.secret)) == (pair.id, pair.secret)


def test_no_two_pairs_are_alike() -> None:
    pairs = [generate() for _ in range(50)]
    assert len({pair.id for pair in pairs} | {pair.secret for pair in pairs}) == 100


@pytest.mark.parametrize(("key_id", "secret"), GOOD)
def test_every_format_that_exists_is_accepted(key_id: str, secret: str) -> None:
    assert check_id(key_id) == key_id
    assert check_secret(secret) == secret


@pytest.mark.parametrize(
    "bad", ["", "abc", "with blank", "with,comma", "tab\tbed", "schlüssel", "x\x7fyz", "n\nn\n"]
)
def test_unusable_ids_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="allowed: visible ASCII"):
        check_id(bad)


@pytest.mark.parametrize(
    "bad", ["", "fifteen-letters", "sixteen letters!", "sixteen,letters!", "sixteen-lettérs!"]
)
def test_unusable_secrets_are_refused_and_not_repeated(bad: str) -> None:
    with pytest.raises(ValueError, match="allowed: visible ASCII") as caught:
        check_secret(bad)
    assert not bad or bad not in str(caught.value)


@given(st.text(min_size=4))
def test_an_accepted_id_survives_the_header(text: str) -> None:
    try:
        check_id(text)
    except ValueError:
        return
    credentials = parse_authorization(authorization_header(text, "s" * 16, "GET", "/", 1))
    assert credentials is not None
    assert credentials.key == text


def test_the_secret_is_not_in_the_repr() -> None:
    assert "sk_" not in repr(KeyPair("some-id", "muxi_sk_" + "a" * 56))


@pytest.mark.parametrize(
    ("key_id", "masked"),
    [
        ("muxi_pk_0123456789abcdef01234567", "muxi_pk_0123••••••••"),
        ("thirteen-char", "thirteen-cha••••••••"),
        ("twelve-chars", "muxi_pk_••••••••"),
        ("", "muxi_pk_••••••••"),
    ],
)
def test_masks_of_ids(key_id: str, masked: str) -> None:
    assert mask_id(key_id) == masked


@pytest.mark.parametrize(
    ("secret", "masked"),
    [
        ("muxi_sk_" + "a" * 52 + "wxyz", "muxi_sk_...wxyz"),
        ("sk_" + "0" * 64, "sk_00000...0000"),
        ("exactly-24-characters-xx", "exactly-...s-xx"),
        ("only-23-characters-long", "***"),
        ("", "***"),
    ],
)
def test_masks_of_secrets(secret: str, masked: str) -> None:
    assert mask_secret(secret) == masked


@given(st.text(min_size=16, max_size=80))
def test_a_masked_secret_shows_at_most_half_of_it(secret: str) -> None:
    masked = mask_secret(secret)
    shown = 0 if masked == "***" else 12
    assert shown * 2 <= len(secret)
