from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from build.release import write_sums
from tests.install.script import FILE, PROGRAM

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The files of a release; a script for the binary, unless there is a real one."""
    directory = tmp_path / "release"
    directory.mkdir()
    (directory / FILE).write_bytes(PROGRAM)
    write_sums(directory)
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    return directory
