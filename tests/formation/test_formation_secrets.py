from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxi.errors import RequestError
from muxi.formation.secrets import check_secrets, references

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"key: ${{ secrets.A }}", ("A",)),
        (b"key: ${{secrets.A}}", ("A",)),
        (b"key: ${{  secrets . A\t}}", ("A",)),
        (b"key: >\n  ${{\n  secrets.A\r\n  }}", ("A",)),
        (b"a: ${{ secrets.A }}-${{ secrets.B }} ${{ secrets.A }}", ("A", "B")),
        (b"# a: ${{ secrets.A }}\n  # b: ${{ secrets.B }}\nc: ${{ secrets.C }} # see A", ("C",)),
        (b"a: ${{ user.A }} ${ secrets.B } {{ secrets.C }} ${{ secrets. }} ${{ secrets.D }", ()),
        (b"a: '${{ secrets.OPENAI_API-KEY2 }}'", ("OPENAI_API-KEY2",)),
        (b"\xff\xfe ${{ secrets.A }}", ("A",)),
        (b"${{" + b" " * 100_000, ()),
    ],
)
def test_references(text: bytes, names: tuple[str, ...]) -> None:
    assert references(text) == names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "formation.afs").write_text("key: ${{ secrets.MAIN }}")
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "one.yaml").write_text("key: ${{ secrets.NESTED }}")
    (tmp_path / "notes.txt").write_text("${{ secrets.NOT_CONFIGURATION }}")
    return tmp_path


def test_both_files_make_it_good(root: Path) -> None:
    (root / "secrets.enc").touch()
    (root / ".key").touch()
    check_secrets(root)


@pytest.mark.parametrize(
    ("present", "said"),
    [((), "no secrets.enc and no .key"), (("secrets.enc",), "no .key"), ((".key",), "no secrets.enc")],
)
def test_what_is_missing_is_said(root: Path, present: tuple[str, ...], said: str) -> None:
    for name in present:
        (root / name).touch()
    with pytest.raises(RequestError) as caught:
        check_secrets(root)
    error = caught.value
    assert (error.code, error.status, error.stage) == ("SecretsError", 400, "validating")
    assert said in error.message
    assert "MAIN (formation.afs)" in error.message
    assert "NESTED (agents/one.yaml)" in error.message
    assert "NOT_CONFIGURATION" not in error.message


def test_without_references_nothing_is_needed(tmp_path: Path) -> None:
    (tmp_path / "formation.yaml").write_text("id: hello")
    check_secrets(tmp_path)


def test_files_too_large_for_configuration_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_bytes(b"${{ secrets.A }}" + bytes(1024 * 1024))
    check_secrets(tmp_path)
