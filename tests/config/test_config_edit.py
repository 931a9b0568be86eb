from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from muxi.config.edit import edit_config, quoted
from muxi.config.save import new_config
from muxi.errors import ConfigError

COMMENTED = """\
# top
server_id: server-old-00000000   # the id

server:   # public
    host: "0.0.0.0"
    port: 7890     # keep me
auth: {key: k, secret: 's: "x"'}
"""


def test_only_the_values_change() -> None:
    changes: dict[str, str | int] = {
        "server.port": 80,
        "server.host": "::1",
        "server_id": "server-new-11111111",
    }
    assert edit_config(COMMENTED, changes) == (
        COMMENTED.replace("7890", "80").replace('"0.0.0.0"', '"::1"').replace("old-00000000", "new-11111111")
    )


def test_line_ends_and_a_mark_at_the_beginning_stay() -> None:
    text = "\ufeffserver:\r\n  port: 7890\r\n# é end"
    assert edit_config(text, {"server.port": 1}) == "\ufeffserver:\r\n  port: 1\r\n# é end"


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", "a:\n  b:\n    c: 1\n"),
        ("a:\n  x: 2\n", "a:\n  b:\n    c: 1\n  x: 2\n"),
        ("a:\n", "a: {b: {c: 1}}\n"),
        ("a: {x: 2}\n", "a: {b: {c: 1}, x: 2}\n"),
        ("a:\n  b:\n    c: 7  # seven\n", "a:\n  b:\n    c: 1  # seven\n"),
    ],
)
def test_keys_may_be_as_deep_as_they_like(text: str, changed: str) -> None:
    assert edit_config(text, {"a.b.c": 1}) == changed


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", "server:\n  port: 1\n"),
        ("# only a comment", "# only a comment\nserver:\n  port: 1\n"),
        ("auth:\n  key: k\n", "server:\n  port: 1\nauth:\n  key: k\n"),
        ("server:\n    host: h\n", "server:\n    port: 1\n    host: h\n"),
        ("server: {host: h}\n", "server: {port: 1, host: h}\n"),
        ("server: {}\n", "server: {port: 1}\n"),
        ("server:\n", "server: {port: 1}\n"),
        ("server: ~\nauth:\n", "server: {port: 1}\nauth:\n"),
        ("server:\n  port:\n", "server:\n  port: 1\n"),
        ("{server: {port: 7}}", "{server: {port: 1}}"),
        ("{auth: {key: k}}", "{server: {port: 1}, auth: {key: k}}"),
        ("---\nauth:\n", "---\nserver:\n  port: 1\nauth:\n"),
    ],
)
def test_a_missing_key_is_added(text: str, changed: str) -> None:
    assert edit_config(text, {"server.port": 1}) == changed


@pytest.mark.parametrize(
    "text",
    [
        "auth: &a {port: 2}\nserver: *a\n",
        "x: &p 7\nserver:\n  port: *p\n",
        "server:\n  port: &p 7\nx: *p\n",
        "server: 5\n",
        "server: [1]\n",
        "server:\n  port: [1]\n",
        "- a\n",
    ],
)
def test_an_unusual_file_is_left_to_people(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        edit_config(text, {"server.port": 1})
    assert caught.value.problems == ("server.port is written in an unusual way; set it to 1 by hand",)


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\x07"])
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        edit_config(text, {"server.port": 1})
    assert caught.value.problems == ("it is not YAML; `muxi-server config validate` says where",)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_categories=["Cc"]), max_size=20))
def test_a_quoted_value_reads_as_itself(value: str) -> None:
    node = yaml.compose(f"a: {quoted(value)}\n", Loader=yaml.SafeLoader)
    assert node is not None
    assert node.value[0][1].value == value


@given(
    st.integers(0, 65535),
    st.sampled_from(["127.0.0.1", "::", "localhost"]),
    st.permutations(["server.port", "server.host", "server_id"]),
)
def test_changes_to_a_new_file_hold_and_touch_nothing_else(port: int, host: str, order: list[str]) -> None:
    text = new_config(7890, "0.0.0.0", "x").text
    before = yaml.safe_load(text)
    all_changes: dict[str, str | int] = {
        "server.port": port,
        "server.host": host,
        "server_id": "server-y-00000000",
    }
    after = yaml.safe_load(edit_config(text, {key: all_changes[key] for key in order}))
    assert after.pop("server") == {"port": port, "host": host}
    assert after.pop("server_id") == "server-y-00000000"
    assert after == {key: before[key] for key in ("auth", "formations", "logging")}
