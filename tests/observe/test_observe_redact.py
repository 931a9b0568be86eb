from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.observe.redact import REDACTED, is_secret_name, redact, redact_event, redact_text

SECRET = "fedcba98" * 7


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "token",
        "password",
        "Authorization",
        "auth_token",
        "OPENAI_API_KEY",
        "X-Muxi-Client-Key",
        "X-MUXI-ADMIN-KEY",
        "secrets",
        "set-cookie",
        "api-key",
        "apikey",
        "signature",
        "MUXI_RCE_TOKEN",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)
    assert redact_event({name: SECRET}) == {name: REDACTED}
    assert SECRET not in str(redact({"env": [{name: SECRET}]}))


@pytest.mark.parametrize(
    "name", ["key_id", "event", "request_id", "tokenizer", "formation_id", "status", "secretary"]
)
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: MUXI-HMAC key=muxi_pk_1, timestamp=1, signature={SECRET}",
        f"bad header 'Bearer {SECRET}'",
        f"Basic {SECRET}",
        f"muxi_sk_{SECRET}",
        f"sk_{SECRET}",
        f"sk-{SECRET}",
        f"OPENAI_API_KEY={SECRET}",
        f"GET /x?token={SECRET}&lines=5",
        f'{{"password": "{SECRET}"}}',
        f"https://user:{SECRET}@example.org/x",
        f"X-Muxi-Admin-Key: {SECRET}",
        f"environ({{'MY_SECRET': '{SECRET}'}})",
    ],
)
def test_texts_that_hold_a_secret(text: str) -> None:
    assert SECRET not in redact_text(text)
    assert REDACTED in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "formation started",
        "GET /rpc/formations/{formation_id} 200",
        "port 8001 is taken by pid 17",
        "task-runner",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert redact_text(text) == text


class Awkward:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_any_value_becomes_plain() -> None:
    deep: object = "x"
    for _ in range(50):
        deep = [deep]
    event = {"object": Awkward(), "bytes": b"x", "set": {1}, "deep": deep, "error": OSError("no")}
    assert json.dumps(redact_event(event))
    assert redact(Awkward()) == "<Awkward>"


def test_a_huge_text_is_cut() -> None:
    assert len(redact_text("x" * 1_000_000)) < 20_000


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_what_comes_out_is_json(value: object) -> None:
    json.dumps(redact(value))
