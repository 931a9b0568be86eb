"""What the releases on this machine run on, read from their version.json, without any server."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.disk import disk_work
from muxi.formation import versions
from muxi.runtime.choice import APPTAINER, DOCKER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from muxi.runtime.pin import Pin

ON_IMAGES = frozenset({APPTAINER, DOCKER})
"""Runtimes whose pins name a version of the runtime's image files."""


@dataclass(frozen=True, slots=True)
class Pins:
    """By formation: what its current release runs on, and what all that are kept do."""

    current: Mapping[str, Pin]
    kept: Mapping[str, Collection[Pin]]

    def images(self) -> dict[str, list[str]]:
        """Return by version and variant (`1.2.3:cuda`) the formations that have releases on that image."""
        return self._users(lambda pin: pin.version if pin.runtime in ON_IMAGES else "")

    def artifacts(self) -> dict[str, list[str]]:
        """Return by what was made for a pin, such as an environment's key, the formations that use it."""
        return self._users(lambda pin: pin.artifact)

    def _users(self, name: Callable[[Pin], str]) -> dict[str, list[str]]:
        users: defaultdict[str, set[str]] = defaultdict(set)
        for formation_id, pins in self.kept.items():
            for pin in pins:
                if name(pin):
                    users[name(pin)].add(formation_id)
        return {used: sorted(ids) for used, ids in sorted(users.items())}


def read_pins(formations_dir: Path) -> Pins:
    """Read the pins of all formations. Blocks.

    Raises StorageError, also where one can't be read: what it runs on is not known then, so that
    nothing may be taken for unused.
    """
    current: dict[str, Pin] = {}
    kept: dict[str, Collection[Pin]] = {}
    with disk_work("read what formations run on"):
        homes = sorted(formations_dir.iterdir()) if formations_dir.is_dir() else []
        for home in homes:
            found = versions.load(home)
            if found is None:
                continue
            kept[home.name] = [entry.runtime for entry in found.entries if entry.runtime is not None]
            if found.current.runtime is not None:
                current[home.name] = found.current.runtime
    return Pins(current, kept)
