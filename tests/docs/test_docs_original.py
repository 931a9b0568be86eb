"""docs/migrating-from-go.md, done step by step in the home of one who has used the Go server, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.docs.blocks import of_stage
from tests.docs.original import original
from tests.docs.stages import play

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/migrating-from-go.md"


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_the_original_is_followed_and_can_be_gone_back_to(tmp_path: Path) -> None:
    stage = original(tmp_path)
    home = tmp_path / ".muxi" / "server"
    before = files(home)
    printed = play(stage, of_stage("original")[PAGE])
    assert "is valid" in printed
    assert "1.1.0" in printed, "its release is the current one"
    assert "1.0.0" in printed, "the one before is kept"
    assert '"healthy"' in printed
    assert (home / "formations" / "my-agent" / "state" / "MUXI.md").read_text() == "tuned"
    assert (home / "registry.json.v1").read_bytes() == before["registry.json"]
    play(stage, of_stage("back")[PAGE])
    assert files(home) == before
