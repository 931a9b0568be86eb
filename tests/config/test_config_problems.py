"""What a wrong configuration says: every problem, once, with its place and what is allowed."""

# ruff: noqa: RUF001 - ranges are written with the dash that belongs there
# ruff: noqa: E501 - a message is one line, as its reader gets it

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from muxi.config.document import MAX_FILE_SIZE, read_document
from muxi.config.load import Loaded, load
from muxi.config.model import Paths
from muxi.config.sources import names
from muxi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A configuration directory of one's own, and the loading of a text in it."""

    paths: Paths

    def load(
        self,
        text: str | bytes | None = None,
        environment: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
        *,
        require_key: bool = False,
    ) -> Loaded:
        if text is not None:
            self.paths.config_file.write_bytes(text if isinstance(text, bytes) else text.encode())
            self.paths.config_file.chmod(0o600)
        return load(self.paths, environment=environment, flags=flags, require_key=require_key)

    def problems(
        self,
        text: str | bytes | None = None,
        environment: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
        *,
        require_key: bool = False,
    ) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, environment, flags, require_key=require_key)
        assert caught.value.details == {"problems": list(caught.value.problems)}
        return caught.value.problems


@pytest.fixture
def place(tmp_path: Path) -> Place:
    etc, data = tmp_path / "etc", tmp_path / "data"
    etc.mkdir()
    return Place(Paths(etc, data, tmp_path / "log", data / "cache", etc / "config.yaml"))


EVERYTHING_WRONG = """\
server_id: [a]
server:
  port: abc
  prot: 80
  host: not a host
  port: 7890
auth:
  enabled: maybe
  timestamp_tolerance: 5y
  key: lonely-key
  keys:
    - id: no-secret
    - {id: x, secret: 0123456789abcdef}
    - {id: same, secret: 0123456789abcdef}
    - {id: same, secret: fedcba9876543210}
    - just-text
    - {id: more, secret: 0123456789abcdef, role: admin}
formations:
  port_range: [8000, 9000]
  port_range_start: 8500
  startup_timeout: 60s
  max_formations: -1
  bundle: {max_ratio: many, max_file_size: 1X}
  deployment:
    health_check: {timeout: 30, endpoint: health}
logging: {level: loud, format: xml}
proxy: 5
rce: {auth_token: "sec\\nret"}
sever: {port: 1}
port: 80
"""


EVERY_PROBLEM = """\
config.yaml:1: server_id: a list can't be it; allowed: printable text on one line
config.yaml:3: server.port: "abc" is not a whole number; allowed: 0–65535
config.yaml:4: server.prot is not a known key; did you mean server.port?
config.yaml:5: server.host: "not a host" is not a host; allowed: an IP address or a host name
config.yaml:6: server.port is written twice, first on line 3
config.yaml:8: auth.enabled: "maybe" is neither true nor false; allowed: true, false
config.yaml:9: auth.timestamp_tolerance: "5y" is not a duration such as 30s, 5m or 1h30m; allowed: 1s–24h
config.yaml:10: auth.key: a key without its secret; allowed: both or none
config.yaml:12: auth.keys[1]: a key without its secret; allowed: {id, secret}
config.yaml:12: auth.keys: key id same is given with two different secrets
config.yaml:13: auth.keys[2]: this key id is too short; allowed: visible ASCII without comma, at least 4 characters
config.yaml:16: auth.keys[5]: a single value is no key; allowed: {id, secret}
config.yaml:17: auth.keys[6]: only id and secret, each once, are known in a key
config.yaml:20: formations.port_range_start: 8500 differs from 8000 at config.yaml:19: formations.port_range; give the range in one way only
config.yaml:21: formations.startup_timeout: 1m differs from 30s at config.yaml:25: formations.deployment.health_check.timeout, another name of the same thing; give one of them
config.yaml:22: formations.max_formations: -1 is out of range; allowed: 1–100000
config.yaml:23: formations.bundle.max_file_size: "1X" is not a size such as 512K, 10M or 1G; allowed: 1K or more
config.yaml:23: formations.bundle.max_ratio: "many" is not a whole number; allowed: 1 or more
config.yaml:25: formations.deployment.health_check.endpoint: "health" is not a path of a URL; allowed: a path beginning with /, without blanks or query
config.yaml:26: logging.level: "loud" is unknown; allowed: debug, info, warning, error
config.yaml:26: logging.format: "xml" is unknown; allowed: text, json
config.yaml:27: proxy is a single value; allowed: a group of keys
config.yaml:28: rce.auth_token: the value can't be used; allowed: printable text on one line
config.yaml:29: sever is not a known key; did you mean server?
config.yaml:30: port is not a known key; did you mean server.port?
MUXI_PORT: "x" is not a whole number; allowed: 0–65535
MUXI_LOG_LEVEL: "loud" is unknown; allowed: debug, info, warning, error
flag server.host: "a b" is not a host; allowed: an IP address or a host name
"""


def test_one_error_lists_every_problem_in_the_order_of_the_file(place: Place) -> None:
    problems = place.problems(
        EVERYTHING_WRONG,
        {"MUXI_PORT": "x", "MUXI_LOG_LEVEL": "loud"},
        {"server.host": "a b"},
        require_key=True,
    )
    assert list(problems) == EVERY_PROBLEM.splitlines()


ONE_EACH = [
    ("server: {port: 65536}", "65536 is out of range; allowed: 0–65535"),
    ("server: {port: 80.5}", '"80.5" is not a whole number'),
    ("server: {port: true}", '"true" is not a whole number'),
    ("server: {port: {a: 1}}", "server.port: a group of keys can't be it; allowed: 0–65535"),
    ("server: {read_timeout: 0}", "out of range; allowed: 100ms–24h"),
    ("formations: {port_range: [80, 9000]}", "80 is out of range; allowed: 1024–65535"),
    ("formations: {port_range: [8000, 65537]}", "65537 is out of range; allowed: 1025–65536"),
    ("formations: {port_range: [8000]}", "a port range has two numbers"),
    ("formations: {port_range: [8000, 9000, 9999]}", "a port range has two numbers"),
    ("formations: {port_range: [[8000], 9000]}", "a port range has two numbers"),
    ("formations: {port_range: [9000, 8000]}", "begins at 9000 and ends at 8000, so no port is in it"),
    ("formations: {port_range: wide}", "is not a whole number"),
    ("formations: {port_range_start: 9000}", "begins at 9000 and ends at 9000"),
    ("formations: {port_range_end: 7000}", "begins at 8000 and ends at 7000"),
    ("auth: {secret: 0123456789abcdef}", "a secret without its key id"),
    ("auth: {keys: [{secret: 0123456789abcdef}]}", "a secret without its key id"),
    ("auth: {key: test-key, secret: short}", "this secret is too short"),
    ("auth: {keys: abc}", "auth.keys: the value can't be used; allowed: any number of pairs"),
    ("auth: {keys: {id: test-key}}", "a group of keys can't be it; allowed: any number of pairs"),
    ("auth: {enabled: true, enabled: true}", "auth.enabled is written twice, first on line 1"),
    ("- a list", "the file holds a list; allowed: a group of keys"),
    ("just text", "the file holds a single value; allowed: a group of keys"),
    ("? [a, b]\n: c", "a list can't be a key; allowed: a name"),
    (
        "formations: {deployment: {health_check: {timout: 5}}}",
        "did you mean formations.deployment.health_check.timeout?",
    ),
    ("auth_token: x", "did you mean rce.auth_token?"),
    ("zzz: 1", "zzz is not a known key"),
    ("<<: {port: 1}", "<< is not a known key"),
]


@pytest.mark.parametrize(("text", "message"), ONE_EACH)
def test_each_problem_is_the_only_one(place: Place, text: str, message: str) -> None:
    (problem,) = place.problems(text)
    assert problem.startswith("config.yaml:1: ")
    assert message in problem


NOT_YAML = [
    ("a: b: c", "config.yaml:1: not YAML, at column 5: mapping values are not allowed here"),
    ("a: 1\n\tb: 2", "config.yaml:2: not YAML, at column 1: found character"),
    ("a: [1, 2", "config.yaml:1: not YAML, at column 9: "),
    ("a: *nowhere", "config.yaml:1: not YAML, at column 4: found undefined alias …"),
    ("a: 1\n---\nb: 2", "config.yaml:2: not YAML, at column 1: but found another document"),
    ("a: \x07", "config.yaml:1: not YAML: character U+0007 is not allowed"),
    (b"a: 1\nb: \xff", "config.yaml:2: the file is not UTF-8 text"),
    ('a: "\\UFFFFFFFF"', "config.yaml:1: not YAML: nested too deeply, or an escape that names no character"),
    ("[" * 5000, "config.yaml:1: not YAML: nested too deeply"),
    ("#" * (MAX_FILE_SIZE + 1), f"config.yaml:1: the file is too long; allowed: up to {MAX_FILE_SIZE} bytes"),
]


@pytest.mark.parametrize(("text", "message"), NOT_YAML)
def test_what_is_no_yaml_is_one_problem_with_its_place(place: Place, text: str | bytes, message: str) -> None:
    (problem,) = place.problems(text)
    assert problem.startswith(message)


def test_a_bomb_of_aliases_is_not_multiplied(place: Place) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    assert len(place.problems("\n".join(lines))) == 40


def test_a_group_that_holds_itself_ends(place: Place) -> None:
    problems = place.problems("formations: &f\n  deployment: *f\n  bundle: *f\n")
    assert len(problems) == 4
    assert all("is not a known key" in problem for problem in problems)


def test_a_very_long_list_of_problems_is_cut(place: Place) -> None:
    problems = place.problems("".join(f"unknown_{n}: 1\n" for n in range(500)))
    assert len(problems) == 101
    assert problems[-1] == "and 400 more problems"


@pytest.mark.parametrize(
    "text",
    [
        "auth: {key: test-key, secret: 'CANARY with blank'}",
        "auth: {keys: [{id: test-key, secret: 'CANARY,01234567890'}]}",
        "auth: {keys: ['CANARY']}",
        "auth: {keys: CANARY}",
        "auth: CANARY",
        "auth:\n  secret:CANARY\n",
        "auth: {secret: *CANARY}",
        "auth: {secret: &CANARY &CANARY x}",
        'rce: {auth_token: "CANARY\\x07"}',
        "auth: {muxi_sk_CANARY_00112233445566778899aabbccddeeff: x}",
        "auth: {secret: !CANARY<x y}",
        "auth: {secret: 'CANARY}",
    ],
)
def test_no_secret_is_repeated(place: Place, text: str) -> None:
    problems = place.problems(text)
    assert problems
    assert not [problem for problem in problems if "CANARY" in problem]


def test_signatures_without_any_key_name_the_cure(place: Place) -> None:
    (problem,) = place.problems("server_id: x", require_key=True)
    assert "auth.enabled is true, but there is no key" in problem
    assert "muxi-server init" in problem
    assert place.load("auth: {enabled: false}\nserver: {host: 127.0.0.1}", require_key=True).notes == ()


def test_a_directory_in_place_of_the_file_is_an_error_not_a_crash(place: Place) -> None:
    place.paths.config_file.mkdir()
    (problem,) = place.problems()
    assert "config.yaml can't be read: " in problem


def test_a_zero_that_is_asked_for_is_not_passed_over(place: Place) -> None:
    (problem,) = place.problems("", flags={"formations.max_formations": 0})
    assert problem == "flag formations.max_formations: 0 is out of range; allowed: 1–100000"


def test_an_unknown_flag_is_a_defect_of_the_caller(place: Place) -> None:
    with pytest.raises(KeyError):
        place.load("", flags={"server.prot": 1})


YAML_LIKE = st.lists(
    st.sampled_from(
        [*"{}[]:,-?&*!|>'\"%@`#\n\t ", "auth", "keys", "server", "port", ": ", "\n  ", "&a", "*a", "\\", "<<"]
    )
    | st.text(max_size=4),
    max_size=30,
).map("".join)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(YAML_LIKE.map(str.encode) | st.binary(max_size=60))
@example(b'"\\U00110000"')
@example(b"!!python/object/apply:os.system [x]")
@example(b"%YAML 9.9\n---\na: 1")
@example(b"\xef\xbb\xbf")
@example("\u2028: \x85".encode())
@example("\U00072272\xc4\U000c9c91J.yml-{: ?J".encode())
def test_any_bytes_are_read_or_refused_with_printable_problems(data: bytes) -> None:
    document = read_document(data, "config.yaml", names())
    for problem in document.problems:
        assert problem.text.startswith("config.yaml:")
        assert problem.text.isprintable()
