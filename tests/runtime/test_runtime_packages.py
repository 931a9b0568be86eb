"""Which Python a native formation runs on: its manifest's, its environment's, or that of the PATH."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.errors import FormationFailed, RequestError
from muxi.formation.manifest import Manifest
from muxi.process.health import HealthCheck
from muxi.runtime.native import Native
from muxi.runtime.pin import Pin
from muxi.runtime.runtime import Request, Surroundings
from tests.environment.conftest import PROGRAMS, House
from tests.environment.stand_in import fake_python, stand_in
from tests.environment.wheels import make_wheel

if TYPE_CHECKING:
    from muxi.process.spec import ProcessSpec
    from muxi.runtime.runtime import Prepared

PATH = os.pathsep.join((str(PROGRAMS), "/usr/bin", "/bin"))


def manifest(**fields: object) -> Manifest:
    return Manifest(**{"file_name": "formation.yaml", "id": "hello", "kind": "native", "name": "x", **fields})  # type: ignore[arg-type]


def around(search_path: str) -> Surroundings:
    return Surroundings(
        process_id="hello",
        host="127.0.0.1",
        port=8001,
        server_url="",
        stdout=Path("/out"),
        stderr=Path("/err"),
        defaults=HealthCheck(),
        stop_timeout=1.0,
        search_path=search_path,
    )


class Place:
    """A release directory, and a native runtime with environments of its own."""

    def __init__(self, directory: Path, installer: str = "uv", programs: Path = PROGRAMS) -> None:
        self.release = directory / "release"
        self.release.mkdir(exist_ok=True)
        self.house = House(directory, installer, programs)
        self.search_path = os.pathsep.join((str(programs), "/usr/bin", "/bin"))
        self.native = Native(self.search_path, self.house.environments)
        self.told: list[tuple[str, str]] = []

    async def prepare(self, program: Manifest, pin: Pin | None = None) -> Prepared:
        return await self.native.prepare(
            Request(
                program=program,
                release_dir=self.release,
                state_dir=self.release,
                pin=pin,
                report=lambda stage, message, **_: self.told.append((stage, message)),
            )
        )

    async def spec(self, program: Manifest, pin: Pin | None = None) -> ProcessSpec:
        return (await self.prepare(program, pin)).spec(around(self.search_path))


async def test_one_that_needs_nothing_runs_on_that_of_the_path(tmp_path: Path) -> None:
    place = Place(tmp_path)
    prepared = await place.prepare(manifest())
    assert prepared.pin == Pin(runtime="native")
    assert prepared.description == "native"
    made = prepared.spec(around(place.search_path))
    assert made.argv == (str(PROGRAMS / "python3"), "app.py")
    assert made.env["PATH"] == place.search_path
    assert "VIRTUAL_ENV" not in made.env
    assert place.told == []


async def test_requirements_get_it_an_environment(tmp_path: Path) -> None:
    place = Place(tmp_path)
    make_wheel(place.house.wheels, "tiny", script="tiny-hello")
    (place.release / "requirements.txt").write_text("tiny\n")
    place.native.check(manifest(), place.release)
    prepared = await place.prepare(manifest())
    where = place.house.place / prepared.pin.artifact
    assert (
        prepared.description == f"native, Python {'.'.join(map(str, sys.version_info[:3]))} with 1 packages"
    )
    made = prepared.spec(around(place.search_path))
    assert made.argv == (str(where / "bin" / "python"), "app.py")
    assert made.env["PATH"] == os.pathsep.join((str(where / "bin"), place.search_path))
    assert made.env["VIRTUAL_ENV"] == str(where)
    assert {stage for stage, _ in place.told} == {"installing"}
    place.native.check(manifest(command=("tiny-hello",)), place.release)
    own = await place.spec(manifest(command=("tiny-hello",), env={"PATH": "/own"}))
    assert own.argv == (str(where / "bin" / "tiny-hello"),)
    assert own.env["PATH"] == os.pathsep.join((str(where / "bin"), "/own"))


async def test_with_a_pin_nobody_is_asked(tmp_path: Path) -> None:
    place = Place(tmp_path)
    make_wheel(place.house.wheels, "tiny")
    (place.release / "requirements.txt").write_text("tiny\n")
    pin = (await place.prepare(manifest())).pin
    calls = stand_in(tmp_path / "bin", "exit 1")
    later = Place(tmp_path, programs=tmp_path / "bin")
    again = await later.prepare(manifest(), pin)
    assert again.pin == pin
    assert calls.read_text() == ""
    assert later.told == []


async def test_one_that_has_vanished_is_made_again_under_its_name(tmp_path: Path) -> None:
    place = Place(tmp_path)
    make_wheel(place.house.wheels, "tiny")
    (place.release / "requirements.txt").write_text("tiny\n")
    pin = Pin(runtime="native", artifact="b" * 24)
    assert (await place.prepare(manifest(), pin)).pin.artifact == "b" * 24


async def test_a_release_that_ran_without_one_goes_on_so(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.release / "requirements.txt").write_text("tiny\n")
    assert (await place.prepare(manifest(), Pin(runtime="native"))).pin.artifact == ""


async def test_one_that_wants_none_has_none(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.release / "requirements.txt").write_text("tiny\n")
    assert (await place.prepare(manifest(environment=False))).pin.artifact == ""


async def test_the_python_that_it_names(tmp_path: Path) -> None:
    fake_python(tmp_path / "opt" / "python3.9", "3.9.18")
    place = Place(tmp_path)
    program = manifest(python=str(tmp_path / "opt" / "python3.9"), command=("python3", "main.py"))
    place.native.check(program, place.release)
    made = await place.spec(program)
    assert made.argv == (str(tmp_path / "opt" / "python3.9"), "main.py")
    assert made.env["PATH"].startswith(f"{tmp_path / 'opt'}:")
    other = await place.spec(manifest(python=str(tmp_path / "opt" / "python3.9"), command=("sh", "-c", "x")))
    assert other.argv[0].endswith("/sh")


@pytest.mark.parametrize(
    ("wanted", "error"), [("3.99", FormationFailed), ("/nowhere", FormationFailed), ("x", RequestError)]
)
async def test_a_python_that_is_not_there(tmp_path: Path, wanted: str, error: type[RequestError]) -> None:
    place = Place(tmp_path)
    with pytest.raises(error):
        place.native.check(manifest(python=wanted), place.release)
    with pytest.raises(error):
        await place.prepare(manifest(python=wanted))


def test_requirements_that_can_not_be_read_are_found_before_a_deploy(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.release / "requirements.txt").write_text("-r ../../other.txt\n")
    with pytest.raises(RequestError, match="not in the bundle"):
        place.native.check(manifest(), place.release)
    place.native.check(manifest(environment=False), place.release)


def test_a_program_that_is_nowhere_is_found_before_a_deploy(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with pytest.raises(FormationFailed, match="no-such-program"):
        place.native.check(manifest(command=("no-such-program",)), place.release)
