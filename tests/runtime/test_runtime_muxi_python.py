"""MUXI formations on a package that stands in for `muxi-runtime`, with its import bug, installed for real."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.config.model import FormationsConfig
from muxi.config.runtime import RuntimeConfig
from muxi.errors import FormationFailed, OperatorError, RequestError
from muxi.formation.manifest import Manifest
from muxi.images.versions import parse
from muxi.runtime.launcher import place_launcher
from muxi.runtime.muxi_python import MuxiPython
from muxi.runtime.runtime import Request
from muxi.runtime.wheel_version import requirement
from tests.environment.conftest import PROGRAMS, House
from tests.environment.stand_in import fake_python, stand_in
from tests.environment.wheels import make_wheel
from tests.runtime.test_runtime_packages import around

if TYPE_CHECKING:
    from muxi.process.spec import ProcessSpec
    from muxi.runtime.pin import Pin
    from muxi.runtime.runtime import Prepared

# The layout and the relative imports of muxi-runtime 1.20260928.0, one package too high.
MODULES = {
    "muxi/runtime/__init__.py": "",
    "muxi/runtime/datatypes/__init__.py": "",
    "muxi/runtime/datatypes/exceptions.py": "class LoadError(Exception): pass\n",
    "muxi/runtime/formation/__init__.py": (
        "from ..datatypes.exceptions import LoadError\n"
        "class Formation:\n    def load(self): raise LoadError('[ FAIL ]')\n"
    ),
    "muxi/runtime/services/__init__.py": "",
    "muxi/runtime/services/observability.py": "",
    "muxi/runtime/utils/__init__.py": "",
    "muxi/runtime/utils/run_formation.py": """
import json, os, sys
try:
    from ...datatypes.exceptions import LoadError
    from ...formation import Formation
    from ...services import observability
except ImportError:
    from src.muxi.runtime.datatypes.exceptions import LoadError
def main():
    try:
        Formation().load()
    except LoadError as error:
        offline = os.environ.get("HF_HUB_OFFLINE")
        print(json.dumps({"caught": str(error), "argv": sys.argv[1:], "offline": offline}))
if __name__ == "__main__":
    main()
""",
}


def manifest(**fields: object) -> Manifest:
    return Manifest(**{"file_name": "formation.yaml", "id": "hello", "kind": "muxi", "name": "x", **fields})  # type: ignore[arg-type]


class Place:
    def __init__(self, directory: Path, programs: Path = PROGRAMS) -> None:
        self.release = directory / "release"
        self.release.mkdir(exist_ok=True)
        self.house = House(directory, "uv", programs)
        self.settings = RuntimeConfig()
        self.told: list[tuple[str, str]] = []
        self.isolation = FormationsConfig()
        self.runtime = MuxiPython(
            self.house.environments, lambda: self.settings, lambda: self.isolation, directory / "cache"
        )

    def offer(self, *versions: str) -> None:
        for version in versions:
            make_wheel(self.house.wheels, "muxi_runtime", version, modules=MODULES)

    async def prepare(self, program: Manifest, pin: Pin | None = None) -> Prepared:
        return await self.runtime.prepare(
            Request(
                program=program,
                release_dir=self.release,
                state_dir=self.release / "state",
                pin=pin,
                report=lambda stage, message, **_: self.told.append((stage, message)),
            )
        )

    async def spec(self, program: Manifest) -> ProcessSpec:
        return (await self.prepare(program)).spec(around("/usr/bin"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_who_asks_for_a_sandbox_is_not_left_without(place: Place) -> None:
    place.offer("1.2.0")
    with pytest.raises(RequestError, match="asks for a sandbox") as caught:
        await place.prepare(manifest(sandbox=True))
    assert caught.value.code == "SandboxUnavailable"
    assert (await place.runtime.presence()).available
    pin = (await place.prepare(manifest(sandbox=False))).pin
    for setting, value in (("sandbox", "required"), ("user", "somebody")):
        place.isolation = replace(FormationsConfig(), **{setting: value})  # type: ignore[arg-type]
        found = await place.runtime.presence()
        assert not found.available
        assert f"formations.{setting}" in found.problem
        with pytest.raises(OperatorError, match=f"formations.{setting}"):
            await place.prepare(manifest(), pin)


async def test_the_newest_that_will_do_is_installed_and_kept(place: Place) -> None:
    place.offer("1.2.0", "1.10.0", "2.0.0")
    prepared = await place.prepare(manifest(muxi_runtime="1"))
    assert prepared.pin.version == "1.10.0"
    assert prepared.description.startswith("muxi-python 1.10.0, Python 3.")
    assert any(stage == "installing" for stage, _ in place.told)
    place.offer("1.11.0")
    again = await place.prepare(manifest(muxi_runtime="1"), prepared.pin)
    assert again.pin == prepared.pin
    assert (await place.prepare(manifest(muxi_runtime="1"))).pin.version == "1.11.0"
    assert (await place.prepare(manifest())).pin.version == "2.0.0"


async def test_the_servers_version_is_for_those_that_name_none(place: Place) -> None:
    place.offer("1.2.0", "2.0.0")
    place.settings = replace(place.settings, version="1.2.0")
    assert (await place.prepare(manifest())).pin.version == "1.2.0"
    assert (await place.prepare(manifest(muxi_runtime="latest"))).pin.version == "2.0.0"


async def test_all_on_one_version_share_an_environment(place: Place) -> None:
    place.offer("1.2.0")
    one = await place.prepare(manifest(id="one"))
    two = await place.prepare(manifest(id="two", muxi_runtime="1.2.0"))
    assert one.pin.artifact == two.pin.artifact


async def test_its_launcher_cures_the_imports(place: Place) -> None:
    place.offer("1.2.0")
    made = await place.spec(manifest(env={"MUXI_SIF_MODE": "1"}))
    done = await trio.run_process(made.argv, env=dict(made.env), cwd=made.cwd, capture_stdout=True)
    said = json.loads(done.stdout)
    assert said["caught"] == "[ FAIL ]"  # the same class on both sides
    assert said["argv"] == [str(place.release), "--port", "8001", "--host", "127.0.0.1"]
    assert said["offline"] == "1"


async def test_its_command_and_environment(place: Place) -> None:
    place.offer("1.2.0")
    prepared = await place.prepare(manifest(env={"ONELLM": "x"}))
    where = place.house.place / prepared.pin.artifact
    made = prepared.spec(around("/usr/bin"))
    assert made.argv[0] == str(where / "bin" / "python")
    assert Path(made.argv[1]).parent == where / "launcher"
    cache = str(place.house.directory / "cache")
    assert made.env == {
        "PATH": f"{where / 'bin'}:/usr/bin",
        "VIRTUAL_ENV": str(where),
        "HOME": str(place.release / "state"),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "MUXI_ENV": "production",
        "HF_HOME": cache,
        "HF_HUB_CACHE": cache,
        "ONELLM": "x",
        "PORT": "8001",
        "HOST": "127.0.0.1",
        "FORMATION_ID": "hello",
        "MUXI_SERVER_URL": "",
        "_port": "8001",
        "_bind_host": "127.0.0.1",
    }
    place.settings = replace(place.settings, offline=True)
    offline = prepared.spec(around("/usr/bin")).env
    assert (offline["HF_HUB_OFFLINE"], offline["TRANSFORMERS_OFFLINE"]) == ("1", "1")


async def test_where_the_index_can_not_be_asked_what_is_here_will_do(place: Place) -> None:
    place.offer("1.2.0")
    await place.prepare(manifest(muxi_runtime="1.2.0"))
    for wheel in place.house.wheels.iterdir():
        wheel.unlink()
    place.told.clear()
    prepared = await place.prepare(manifest(muxi_runtime="1"))
    assert prepared.pin.version == "1.2.0"
    assert any("Taking 1.2.0, which is installed here" in message for _, message in place.told)
    with pytest.raises(FormationFailed):
        await place.prepare(manifest(muxi_runtime="2"))


async def test_without_downloads_only_what_is_here_is_used(place: Place) -> None:
    place.offer("1.2.0")
    place.settings = replace(place.settings, auto_download=False)
    for wanted in ("1.2.0", "1"):
        with pytest.raises(OperatorError, match="auto_download") as caught:
            await place.prepare(manifest(muxi_runtime=wanted))
        assert (caught.value.code, caught.value.status) == ("RuntimeUnavailable", 503)
    place.settings = replace(place.settings, auto_download=True)
    pin = (await place.prepare(manifest(muxi_runtime="1.2.0"))).pin
    place.offer("1.3.0")
    place.settings = replace(place.settings, auto_download=False)
    assert (await place.prepare(manifest(muxi_runtime="1"))).pin == pin


@pytest.mark.parametrize("wanted", ["1.2:cuda", "latest:pytorch", ":gpu"])
def test_a_variant_is_an_image(place: Place, wanted: str) -> None:
    with pytest.raises(RequestError, match="is an image") as caught:
        place.runtime.check(manifest(muxi_runtime=wanted), place.release)
    assert (caught.value.status, caught.value.code) == (501, "RuntimeUnavailable")
    assert "Apptainer or Docker" in str(caught.value.cure)


@pytest.mark.parametrize("wanted", ["1.2.3.4", "one", "1:huge"])
def test_a_version_that_is_none(place: Place, wanted: str) -> None:
    with pytest.raises(RequestError) as caught:
        place.runtime.check(manifest(muxi_runtime=wanted), place.release)
    assert caught.value.code == "InvalidRuntime"


async def test_it_is_present_where_there_is_a_python_and_an_installer(tmp_path: Path, place: Place) -> None:
    found = await place.runtime.presence()
    assert found.available
    assert found.version.startswith("3.")
    fake_python(tmp_path / "old" / "python3", "3.9.1")
    (tmp_path / "old" / "sh").symlink_to("/bin/sh")
    old = Place(tmp_path, tmp_path / "old")
    old.house.environments.finder.search_path = str(tmp_path / "old")
    missing = await old.runtime.presence()
    assert not missing.available
    assert "3.10" in missing.problem
    assert missing.cure
    with pytest.raises(FormationFailed, match=r"Python 3\.9\.1 is too old"):
        old.runtime.check(manifest(python="3.9"), place.release)


async def test_without_an_installer_it_is_not_present(tmp_path: Path) -> None:
    fake_python(tmp_path / "new" / "python3", "3.12.1")
    found = await Place(tmp_path, tmp_path / "new").runtime.presence()
    assert not found.available
    assert "uv" in found.problem


async def test_a_start_with_a_pin_runs_no_installer(tmp_path: Path, place: Place) -> None:
    place.offer("1.2.0")
    pin = (await place.prepare(manifest())).pin
    calls = stand_in(tmp_path / "bin", "exit 1")
    later = Place(tmp_path, tmp_path / "bin")
    assert (await later.prepare(manifest(), pin)).pin == pin
    assert calls.read_text() == ""


def test_another_version_of_the_launcher_has_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place_launcher(tmp_path)
    assert place_launcher(tmp_path) == first
    assert os.access(first, os.R_OK)
    assert [path.name for path in first.parent.iterdir()] == [first.name]


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ("latest", "muxi-runtime"),
        ("1", "muxi-runtime==1.*"),
        ("1.2", "muxi-runtime==1.2.*"),
        ("1.2.3", "muxi-runtime==1.2.3"),
    ],
)
def test_versions_as_installers_know_them(wanted: str, asked: str) -> None:
    assert requirement(parse(wanted)) == asked
