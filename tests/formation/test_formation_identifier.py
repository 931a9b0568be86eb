from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muxi.errors import RequestError
from muxi.formation.identifier import RESERVED, id_problem, validate_formation_id

RULE = re.compile(r"^[a-z0-9][a-z0-9-]{1,48}[a-z0-9]\Z")


@settings(deadline=None)
@given(st.one_of(st.text(max_size=60), st.text("abz019-", max_size=55), st.sampled_from(sorted(RESERVED))))
@example("abc\n")
@example("a" * 50)
@example("a" * 51)
@example("-ab")
@example("ab-")
@example("a--b")
def test_the_function_and_the_rule_agree(text: str) -> None:
    good = RULE.match(text) is not None and text not in RESERVED
    assert (id_problem(text) is None) == good


@pytest.mark.parametrize(
    "text", ["abc", "a1b", "000", "a-b", "support-agent", "a-staging", "x-draft", "a" * 50]
)
def test_good_ids(text: str) -> None:
    validate_formation_id(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be empty"),
        ("ab", "must be 3-50 characters"),
        ("a" * 51, "must be 3-50 characters"),
        ("health", "'health' is reserved"),
        ("muxi-rce", "'muxi-rce' is reserved"),
        ("Abc", "must contain only lowercase letters, numbers, and hyphens"),
        ("a_b", "must contain only lowercase letters, numbers, and hyphens"),
        ("abc\n", "must contain only lowercase letters, numbers, and hyphens"),
        ("../etc", "must contain only lowercase letters, numbers, and hyphens"),
        (
            "a\u0663b",
            "must contain only lowercase letters, numbers, and hyphens",
        ),  # a digit, not an ASCII one
        ("a\u0131b", "must contain only lowercase letters, numbers, and hyphens"),
        ("-ab", "must start and end with a letter or a number"),
        ("ab-", "must start and end with a letter or a number"),
    ],
)
def test_bad_ids_and_what_is_said_of_them(text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        validate_formation_id(text)
    assert caught.value.message == f"formation ID {message}"
    assert (caught.value.status, caught.value.code) == (400, "InvalidFormationID")
