from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxi.formation.manifest import Manifest
from muxi.formation.plan import extra_variables
from tests.formation.test_fleet import House, configuration

if TYPE_CHECKING:
    from pathlib import Path


def manifest(kind: str = "muxi", **env: str) -> Manifest:
    return Manifest(file_name="formation.afs", id="bot", kind=kind, name="bot", env=env)  # type: ignore[arg-type]


async def told(house: House, wanted: Manifest) -> dict[str, str]:
    return dict((await extra_variables(house.facilities, wanted, "muxi-python"))())


@pytest.mark.parametrize("variable", ["MUXI_TELEMETRY=0", "DO_NOT_TRACK=1", "telemetry: false"])
async def test_who_objects_to_reports_of_the_server_objects_to_those_of_formations(
    tmp_path: Path, variable: str
) -> None:
    house = House(configuration(tmp_path))
    house.facilities.variables = {"HOME": str(tmp_path)}
    assert await told(house, manifest()) == {}
    name, _, value = variable.partition("=")
    if value:
        house.facilities.variables = {"HOME": str(tmp_path), name: value}
    else:
        (tmp_path / ".muxi").mkdir()
        (tmp_path / ".muxi" / "config.yaml").write_text(variable)
    assert await told(house, manifest()) == {"MUXI_TELEMETRY": "0"}
    # A formation's own word holds, and a native one has nothing to do with it.
    assert await told(house, manifest(MUXI_TELEMETRY="1")) == {}
    assert await told(house, manifest("native")) == {}
