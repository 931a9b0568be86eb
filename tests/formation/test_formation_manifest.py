from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muxi.errors import RequestError
from muxi.formation.manifest import Manifest, check_identity, parse_manifest, read_manifest
from muxi.runtime.program import SERVER_VARIABLES, HealthOptions

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def parse(text: str, names: Collection[str] = ("app.py",)) -> Manifest:
    return parse_manifest(text.encode(), "formation.yaml", names)


def problems_of(text: str | bytes, names: Collection[str] = ("app.py",)) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(RequestError) as caught:
        parse_manifest(data, "formation.yaml", names)
    assert (caught.value.code, caught.value.status, caught.value.stage) == ("ParseError", 400, "validating")
    assert "formation.yaml" in caught.value.message
    problems = caught.value.details["problems"]
    assert isinstance(problems, list)
    assert all(problem in caught.value.message for problem in problems)
    return problems


def test_the_smallest_native_manifest() -> None:
    manifest = parse("id: hello")
    assert manifest == Manifest(file_name="formation.yaml", id="hello", name="hello", kind="native")
    assert (manifest.version, manifest.license, manifest.command) == ("1.0.0", "Unlicense", None)


def test_a_full_native_manifest() -> None:
    manifest = parse(
        """
        schema: 1.0.0
        id: hello
        name: Hello agent
        description: |
          Says hello.
          And more.
        version: 1.10
        author: Ann <ann@example.org>
        url: https://example.org
        license: MIT
        command: [node, server.js, --port, 80]
        env: {DEBUG: true, RATIO: 0.50, ZIP: 00123, EMPTY: , QUOTED: "a b"}
        health: {path: /ready, timeout: 2, interval: 500ms, startup_timeout: 5m}
        stop_timeout: 30s
        sandbox: true
        unknown: [is, ignored]
        """,
        names=(),
    )
    assert manifest == Manifest(
        file_name="formation.yaml",
        id="hello",
        kind="native",
        name="Hello agent",
        description="Says hello.\nAnd more.\n",
        version="1.10",
        schema="1.0.0",
        author="Ann <ann@example.org>",
        url="https://example.org",
        license="MIT",
        command=("node", "server.js", "--port", "80"),
        env={"DEBUG": "true", "RATIO": "0.50", "ZIP": "00123", "EMPTY": "", "QUOTED": "a b"},
        health=HealthOptions("/ready", timeout=2.0, interval=0.5, startup_timeout=300.0),
        stop_timeout=30.0,
        sandbox=True,
    )


def test_health_can_be_a_path_alone() -> None:
    assert parse("id: hello\nhealth: /ready").health == HealthOptions(path="/ready")


def test_the_environment_is_in_no_repr() -> None:
    assert "canary" not in repr(parse("id: hello\nenv: {TOKEN: canary}"))


@pytest.mark.parametrize(
    ("text", "names", "kind"),
    [
        ("command: [x]", {"formation.yaml"}, "native"),
        ("", {"app.py"}, "native"),
        ("muxi_runtime: latest", {"app.py"}, "muxi"),
        ("muxi_runtime: 1.2\ncommand: [x]", {"app.py"}, "muxi"),
        ("muxi_runtime:", {"app.py"}, "native"),  # YAML's null names nothing
        ("llm: {models: []}", {"app.py"}, "muxi"),
        ("agents: [a]", {"formation.yaml"}, "muxi"),
        ("", {"agents"}, "muxi"),
        ("command: [x]\nagents: [a]", {"agents"}, "native"),
    ],
)
def test_which_kind_a_formation_is(text: str, names: set[str], kind: str) -> None:
    assert parse(f"id: hello\ndescription: d\n{text}", names).kind == kind


def test_a_muxi_formation_needs_a_description_and_a_native_one_a_program() -> None:
    assert problems_of("id: hello\nmuxi_runtime: latest") == [
        "description is missing; a MUXI formation needs one"
    ]
    (problem,) = problems_of("id: hello", names={"formation.yaml", "main.py"})
    assert problem.startswith("there is neither a `command` nor a file app.py")


def test_all_problems_come_in_one_error_with_their_lines() -> None:
    problems = problems_of(
        "id: Bad_Id\ncommand: python app.py\nenv:\n  PORT: 1\n  'a b': x\n  DEEP: [1]\n"
        "health: {path: no-slash, retries: 3}\nstop_timeout: soon\nname: [a]\n"
    )
    starts = [
        "line 1: id must contain only",
        "line 2: command must be a list",
        "line 4: env.PORT is set by the server",
        "line 5: env.a b is not a name",
        "line 6: env.DEEP must be a single value",
        "line 7: health.path",
        "line 7: health.retries is not known",
        "line 8: stop_timeout",
        "line 9: name must be a single value",
    ]
    assert len(problems) == len(starts)
    for start in starts:
        assert any(problem.startswith(start) for problem in problems), (start, problems)


@pytest.mark.parametrize("variable", sorted(SERVER_VARIABLES))
def test_no_variable_of_the_server_can_be_set(variable: str) -> None:
    assert problems_of(f"id: hello\nenv: {{{variable}: x}}") == [
        f"line 2: env.{variable} is set by the server; leave it out"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a mapping"),
        ("- a\n- b", "not a mapping"),
        ("just text", "not a mapping"),
        ("name: x", "id is missing"),
        ("id: ", "id is missing"),
        ("id: ''", "line 1: id cannot be empty"),
        ("id: api", "'api' is reserved"),
        ("id: hello\nid: other", "line 2: the key 'id' stands on line 1 already"),
        ("id: hello\na: {b: 1, b: 2}", "line 2: the key 'b' stands on line 2 already"),
        ("id: hello\ncommand: []", "must begin with the name of a program"),
        ("id: hello\ncommand: ['']", "must begin with the name of a program"),
        ("id: hello\ncommand: [a, [b]]", "must be a single value"),
        ("id: hello\ncommand: {a: b}", "must be a list"),
        ('id: hello\ncommand: ["a\\0b"]', "not text"),
        ('id: hello\ndescription: "\\ud800"', ""),
        ("id: hello\nname: 'a\n\n  b'", "one line"),
        ("id: hello\nenv: {A: " + "x" * 20_001 + "}", "line 2: env.A is longer than 20,000 characters"),
        ("id: hello\nenv: [A=1]", "must be a mapping"),
        ("id: hello\nbase: &b {A: 1}\nenv: {<<: *b}", "line 3: env.<< is not understood here"),
        ("id: hello\n? [a]\n: b", "is not a plain name"),
        ("id: hello\nhealth: [/a]", "must be a mapping"),
        ("id: hello\nstop_timeout: 0", "out of range"),
        ("id: hello\nstop_timeout: -5", "stop_timeout"),
        ("id: hello\nsandbox: maybe", "sandbox"),
        ("id: [", "line "),
        ("id: a: b", "line 1"),
        ("id: hello\n---\nid: other", ""),
        ("id: hello\n\tname: x", "line 2"),
        ("id: " + "x" * 1_100_000, "larger than"),
        ("id: hello\ndeep: " + "[" * 60 + "]" * 60, "nested more than 50 levels"),
        ("id: hello\ndeep: " + "[" * 100_000, ""),
        ("id: hello\ndeep: " + "{a: " * 10_000, ""),
        ("id: hello\nmany: [" + "1," * 250_000 + "]", "too many values"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    assert any(problem in found for found in problems_of(text))


def test_bytes_that_are_not_text() -> None:
    assert problems_of(b"id: caf\xe9") == ["it is not UTF-8 text (byte 7)"]
    assert problems_of(b"id: a\x00b")


def test_tags_make_no_objects() -> None:
    manifest = parse(
        'id: hello\nname: !!python/object/apply:os.system ["true"]'.replace('["true"]', '"true"')
    )
    assert manifest.name == "true"


def test_aliases_cannot_grow() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert parse("id: hello\n" + "\n".join(levels)).id == "hello"


def test_a_node_may_hold_itself() -> None:
    assert parse("id: hello\nloop: &l {again: *l}").id == "hello"


def test_a_byte_order_mark_is_fine() -> None:
    assert parse_manifest(b"\xef\xbb\xbfid: hello", "formation.afs", {"app.py"}).id == "hello"


@settings(deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.text(":-{}[]&*!|>'\"#%@`? \n\tabid<", max_size=80).map(str.encode))
)
def test_any_bytes_are_a_manifest_or_a_clear_error(data: bytes) -> None:
    code = "ParseError"
    try:
        parse_manifest(data, "formation.yaml", {"app.py"})
    except RequestError as error:
        code = error.code
    assert code == "ParseError"


def test_the_first_of_the_three_names_is_read(tmp_path: Path) -> None:
    (tmp_path / "app.py").touch()
    for name in ("formation.yml", "formation.yaml", "formation.afs"):
        (tmp_path / name).write_text(f"id: {name.replace('.', '-')}")
        assert read_manifest(tmp_path).file_name == name
        assert read_manifest(tmp_path).id == name.replace(".", "-")


def test_a_bundle_without_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "formation.afs").mkdir()
    with pytest.raises(RequestError, match="Formation config not found") as caught:
        read_manifest(tmp_path)
    assert caught.value.code == "ParseError"
    assert caught.value.cure


def test_a_manifest_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "formation.yaml").open("wb") as file:
        file.truncate(10**10)
    with pytest.raises(RequestError, match="larger than"):
        read_manifest(tmp_path)


def test_identity() -> None:
    manifest = parse("id: hello\nversion: 1.2.0")
    check_identity(manifest, "hello", "1.2.0")
    check_identity(manifest, "hello", None)
    with pytest.raises(RequestError, match="mismatch") as wrong_id:
        check_identity(manifest, "other", None)
    assert wrong_id.value.code == "IDMismatch"
    with pytest.raises(RequestError, match="mismatch") as wrong_version:
        check_identity(manifest, "hello", "1.2.1")
    assert wrong_version.value.code == "VersionMismatch"
    check_identity(parse("id: hello"), "hello", "1.0.0")
