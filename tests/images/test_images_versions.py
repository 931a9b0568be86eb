from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.errors import RequestError
from muxi.images.names import architecture, read_rce_name, read_runtime_name, runtime_name
from muxi.images.versions import Version, Wanted, parse, parse_version, unsatisfiable

V = Version


@pytest.mark.parametrize(
    ("text", "numbers", "variant"),
    [
        (None, (), "lean"),
        ("", (), "lean"),
        (" Latest ", (), "lean"),
        ("1", (1,), "lean"),
        ("1.2", (1, 2), "lean"),
        ("1.20260928.0", (1, 20260928, 0), "lean"),
        ("1.2.3:cuda", (1, 2, 3), "cuda"),
        (":pytorch", (), "pytorch"),
        ("latest:lean", (), "lean"),
        ("1:CPU", (1,), "lean"),
        ("1.2:gpu", (1, 2), "pytorch"),
    ],
)
def test_what_a_manifest_may_ask_for(text: str | None, numbers: tuple[int, ...], variant: str) -> None:
    assert parse(text) == Wanted(numbers, variant)


@pytest.mark.parametrize(
    "text", ["1.2.3.4", "v1", "1.", ".1", "1..2", "one", "-1", "1.2.x", "1.2 3", "9" * 5000, "\u0661", "1\n2"]
)
def test_a_malformed_version_is_their_fault_and_says_the_grammar(text: str) -> None:
    with pytest.raises(RequestError, match="is not a version") as raised:
        parse(text)
    assert (raised.value.code, raised.value.status) == ("InvalidRuntime", 400)
    assert "1.2.3" in (raised.value.cure or "")
    assert len(raised.value.message) < 120


@pytest.mark.parametrize("text", ["1:rocm", "latest:", "1:cuda:x"])
def test_an_unknown_variant_names_those_there_are(text: str) -> None:
    with pytest.raises(RequestError, match="unknown variant") as raised:
        parse(text)
    assert raised.value.cure == "Use one of: lean, pytorch, cuda."


@given(st.lists(st.integers(0, 10**8), max_size=3), st.sampled_from(["lean", "pytorch", "cuda"]))
def test_what_is_written_is_read_as_the_same(numbers: list[int], variant: str) -> None:
    wanted = Wanted(tuple(numbers), variant)
    assert parse(str(wanted)) == wanted


@pytest.mark.parametrize(
    ("wanted", "best"),
    [
        ("latest", V(2, 0, 0)),
        ("1", V(1, 10, 0)),
        ("1.9", V(1, 9, 12)),
        ("1.9.2", V(1, 9, 2)),
        ("3", None),
        ("1.1", None),
    ],
)
def test_the_newest_is_the_greatest_number_and_not_the_last_text(wanted: str, best: Version | None) -> None:
    there = [V(1, 9, 2), V(1, 10, 0), V(1, 9, 12), V(2, 0, 0)]
    assert parse(wanted).best(there) == best


@pytest.mark.parametrize(
    ("text", "version"), [("v1.2.3\n", V(1, 2, 3)), ("1.2.3", V(1, 2, 3)), ("1.2", None), ("<html>", None)]
)
def test_an_exact_version(text: str, version: Version | None) -> None:
    assert parse_version(text) == version


def test_what_can_not_be_had_names_what_there_is() -> None:
    error = unsatisfiable(parse("3:cuda"), [V(1, 9, 0), V(1, 10, 0), V(1, 9, 0)], "installed are")
    assert error.message == "No version of the MUXI runtime is 3:cuda; installed are: 1.10.0, 1.9.0."
    assert (error.code, error.status) == ("ResolveError", 400)
    many = unsatisfiable(parse("3"), [V(1, n, 0) for n in range(50)], "there are")
    assert many.message.endswith("1.40.0 ….")


@pytest.mark.parametrize("variant", ["lean", "pytorch", "cuda"])
def test_names_of_files(variant: str) -> None:
    name = runtime_name("1.2.3", variant, "arm64")
    assert read_runtime_name(name) == (V(1, 2, 3), variant, "arm64")


def test_names_are_those_of_the_original() -> None:
    assert runtime_name("1.2.3", "lean", "amd64") == "muxi-runtime-1.2.3-linux-amd64.sif"
    assert runtime_name("1.2.3", "cuda", "amd64") == "muxi-runtime-1.2.3-cuda-linux-amd64.sif"
    for other in ("muxi-runtime-1.2-linux-amd64.sif", "muxi-runtime-1.2.3-rocm-linux-amd64.sif", "x.sif"):
        assert read_runtime_name(other) is None
    assert read_rce_name("skills-rce-1.10.2-linux-amd64.sif", "amd64") == V(1, 10, 2)
    assert read_rce_name("skills-rce-1.10.2-linux-arm64.sif", "amd64") is None


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("linux", "x86_64", "amd64"),
        ("linux", "aarch64", "arm64"),
        ("darwin", "arm64", "amd64"),
        ("win32", "AMD64", "amd64"),
        ("linux", "riscv64", "riscv64"),
    ],
)
def test_the_architecture_of_images(system: str, machine: str, expected: str) -> None:
    assert architecture(system, machine) == expected
