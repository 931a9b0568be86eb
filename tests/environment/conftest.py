from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.config.environments import EnvironmentsConfig
from muxi.environment.requirements import read_requirements
from muxi.environment.store import Environments

if TYPE_CHECKING:
    from muxi.environment.recipe import Recipe

PROGRAMS = Path(sys.executable).parent
SYSTEM = os.pathsep.join(("/usr/bin", "/bin"))


class House:
    """A data directory of a test's own, with environments made by `installer` from `wheels`."""

    def __init__(self, directory: Path, installer: str, programs: Path = PROGRAMS) -> None:
        self.directory = directory
        self.wheels = directory / "wheels"
        self.wheels.mkdir(exist_ok=True)
        self.settings = EnvironmentsConfig(
            installer=installer, no_index=True, find_links=(self.wheels.as_uri(),)
        )
        self.told: list[str] = []
        self.environments = self.open(programs)

    def open(self, programs: Path = PROGRAMS) -> Environments:
        """Return the environments as another process sees them."""
        return Environments(
            self.directory / "data",
            self.directory / "cache",
            os.pathsep.join((str(programs), SYSTEM)),
            lambda: self.settings,
            {"HOME": str(self.directory)},
        )

    @property
    def place(self) -> Path:
        return self.directory / "data" / "environments"

    @property
    def left(self) -> list[str]:
        """What is in the directory of environments."""
        return sorted(path.name for path in self.place.iterdir()) if self.place.is_dir() else []

    def recipe(self, text: str, name: str = "bundle") -> Recipe:
        """Return the recipe of a bundle with these requirements."""
        root = self.directory / name
        root.mkdir(exist_ok=True)
        (root / "requirements.txt").write_text(text)
        wanted = read_requirements(root)
        assert wanted is not None
        return self.environments.recipe(wanted, root, self.environments.finder.find(sys.executable))


@pytest.fixture
def house(tmp_path: Path) -> House:
    """One where uv is at work."""
    return House(tmp_path, "uv")
