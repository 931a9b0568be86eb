"""Against the package index itself, where it can be reached."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from muxi.config.environments import EnvironmentsConfig
from muxi.environment.requirements import read_requirements
from muxi.environment.store import Environments
from tests.environment.conftest import PROGRAMS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def index() -> None:
    try:
        socket.create_connection(("pypi.org", 443), timeout=10).close()
    except OSError as error:
        pytest.skip(f"the package index can't be reached: {error}")


@pytest.mark.usefixtures("index")
async def test_a_package_of_the_index(tmp_path: Path) -> None:
    search_path = f"{PROGRAMS}{os.pathsep}{os.defpath}"
    environments = Environments(
        tmp_path / "data",
        tmp_path / "cache",
        search_path,
        lambda: EnvironmentsConfig(installer="uv"),
        os.environ,
    )
    (tmp_path / "requirements.txt").write_text("iniconfig==2.0.0\n")
    wanted = read_requirements(tmp_path)
    assert wanted is not None
    python = environments.finder.find(sys.executable)
    made = await environments.ensure(environments.recipe(wanted, tmp_path, python), lambda _: None)
    assert made.record.packages == 1
    assert await environments.resolve("iniconfig<2", tmp_path, python, lambda _: None) == "1.1.1"
