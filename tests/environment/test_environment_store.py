"""Environments made for real: by uv and by pip, from wheels that are made here."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from muxi.environment.record import NAME
from muxi.environment.requirements import read_requirements
from muxi.environment.store import RECENTLY
from muxi.errors import FormationFailed, OperatorError, StorageError
from muxi.files import atomic_write
from muxi.locks import held
from tests.environment.conftest import House
from tests.environment.stand_in import stand_in
from tests.environment.wheels import make_wheel
from tests.waiting import until


def says(program: Path, *arguments: str) -> str:
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=True, env={}
    ).stdout.strip()


@pytest.mark.parametrize("installer", ["uv", "pip"])
async def test_one_is_made_once_and_found_again(tmp_path: Path, installer: str) -> None:
    house = House(tmp_path, installer)
    make_wheel(house.wheels, "tiny_base", "2.0")
    make_wheel(house.wheels, "tiny", requires=("tiny_base>=2",), script="tiny-hello")
    recipe = house.recipe("tiny==1.0  # ours\n")
    made = await house.environments.ensure(recipe, house.told.append)
    assert made.path == house.place / recipe.key
    assert house.left == [recipe.key]
    # Its programs work where they are: they name their Python by an absolute path.
    assert says(made.programs / "tiny-hello") == "tiny 1.0"
    assert (
        says(made.python, "-c", "import sys, tiny_base; print(sys.prefix, tiny_base.version)")
        == f"{made.path} 2.0"
    )
    assert made.record.installer == installer
    assert made.record.requirements == ("tiny==1.0",)
    assert made.record.size > 0
    assert any(line.startswith("Making a Python") for line in house.told)
    house.told.clear()
    again = await House(tmp_path, installer).environments.ensure(
        house.recipe("\ntiny==1.0"), house.told.append
    )
    assert (again, house.told) == (made, [])


@pytest.mark.parametrize("installer", ["uv", "pip"])
async def test_what_can_not_be_installed_is_told_in_the_installers_words(
    tmp_path: Path, installer: str
) -> None:
    house = House(tmp_path, installer)
    with pytest.raises(FormationFailed, match="no-such-package") as caught:
        await house.environments.ensure(house.recipe("no-such-package\n"), house.told.append)
    error = caught.value
    assert (error.code, error.stage) == ("InstallFailed", "installing")
    assert "no-such-package" in str(error.details["log_tail"])
    assert house.left == []


async def test_a_lock_of_uvs_is_followed(house: House) -> None:
    make_wheel(house.wheels, "tiny", "1.0")
    root = house.directory / "bundle"
    root.mkdir()
    (root / "pyproject.toml").write_text(
        '[project]\nname = "agent"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["tiny"]\n'
    )
    lock = ("lock", "--no-index", "--find-links", str(house.wheels), "--project", str(root))
    uv = house.environments.finder.search_path.partition(os.pathsep)[0] + "/uv"
    await trio.run_process([uv, *lock], capture_stderr=True, cwd=root)
    make_wheel(house.wheels, "tiny", "2.0")
    wanted = read_requirements(root)
    assert wanted is not None
    recipe = house.environments.recipe(wanted, root, house.environments.finder.find())
    made = await house.environments.ensure(recipe, house.told.append)
    assert says(made.python, "-c", "import tiny; print(tiny.version)") == "1.0"
    assert sorted(path.name for path in root.iterdir()) == ["pyproject.toml", "uv.lock"]


async def test_requirements_without_hashes_are_refused_where_hashes_are_asked_for(house: House) -> None:
    house.settings = replace(house.settings, require_hashes=True)
    make_wheel(house.wheels, "tiny")
    with pytest.raises(FormationFailed, match="hash"):
        await house.environments.ensure(house.recipe("tiny==1.0\n"), house.told.append)


async def test_wheels_that_the_bundle_brings(house: House) -> None:
    (house.directory / "bundle" / "wheels").mkdir(parents=True)
    make_wheel(house.directory / "bundle" / "wheels", "own")
    recipe = house.recipe("./wheels/own-1.0-py3-none-any.whl\n")
    made = await house.environments.ensure(recipe, house.told.append)
    assert says(made.python, "-c", "import own; print(own.version)") == "1.0"


async def test_settings_for_uv_in_a_bundle_do_not_decide_what_others_get(house: House) -> None:
    make_wheel(house.wheels, "tiny")
    recipe = house.recipe("tiny\n")
    for text, name in (
        ('index-url = "http://127.0.0.1:9/evil"\n', "uv.toml"),
        ("not TOML", "pyproject.toml"),
    ):
        (house.directory / "bundle" / name).write_text(text)
    await house.environments.ensure(recipe, house.told.append)


async def test_the_version_that_an_index_would_give_now(house: House) -> None:
    for version in ("1.2.0", "1.10.0", "2.0.0"):
        make_wheel(house.wheels, "muxi_runtime", version)
    python = house.environments.finder.find()
    for wanted, version in (("muxi-runtime", "2.0.0"), ("muxi-runtime==1.*", "1.10.0")):
        assert await house.environments.resolve(wanted, house.directory, python, house.told.append) == version
    with pytest.raises(FormationFailed, match=r"muxi-runtime==7\.\*"):
        await house.environments.resolve("muxi-runtime==7.*", house.directory, python, house.told.append)
    assert house.left == []


async def test_many_who_want_the_same_wait_for_one(tmp_path: Path) -> None:
    calls = stand_in(tmp_path / "bin", f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done")
    house = House(tmp_path, "uv", tmp_path / "bin")
    recipe = house.recipe("tiny\n")
    heard: list[list[str]] = [[], [], []]
    made = []

    async def want(number: int) -> None:
        made.append(await house.environments.ensure(recipe, heard[number].append))

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(want, number)
        await until(lambda: " pip install" in calls.read_text())
        (tmp_path / "go").touch()
    assert len({one.path for one in made}) == 1
    assert calls.read_text().count(" pip install") == 1
    assert all("Installed 0 packages" in said for said in heard)


async def test_all_who_wait_hear_of_the_failure(tmp_path: Path) -> None:
    calls = stand_in(
        tmp_path / "bin", f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo error: no >&2; exit 2"
    )
    house = House(tmp_path, "uv", tmp_path / "bin")
    recipe = house.recipe("tiny\n")
    errors: list[FormationFailed] = []

    async def want() -> None:
        with pytest.raises(FormationFailed) as caught:
            await house.environments.ensure(recipe, house.told.append)
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(want)
        nursery.start_soon(want)
        await until(lambda: " pip install" in calls.read_text())
        (tmp_path / "go").touch()
    assert [str(error) for error in errors] == ["The Python environment can't be made: no"] * 2
    errors[0].details["rollback_status"] = "failed"
    assert "rollback_status" not in errors[1].details
    assert calls.read_text().count(" pip install") == 1
    assert house.left == []


async def test_when_its_maker_gives_up_the_next_one_makes_it(tmp_path: Path) -> None:
    calls = stand_in(tmp_path / "bin", f"[ -e {tmp_path}/go ] || sleep 1000")
    house = House(tmp_path, "uv", tmp_path / "bin")
    recipe = house.recipe("tiny\n")
    scope = trio.CancelScope()

    async def give_up() -> None:
        with scope:
            await house.environments.ensure(recipe, house.told.append)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        await until(lambda: " pip install" in calls.read_text())
        nursery.start_soon(house.environments.ensure, recipe, house.told.append)
        (tmp_path / "go").touch()
        scope.cancel()
    assert house.left == [recipe.key]
    assert calls.read_text().count(" pip install") == 2


async def test_cancelled_it_ends_all_its_processes_and_leaves_nothing(tmp_path: Path) -> None:
    calls = stand_in(tmp_path / "bin", f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/child; wait")
    house = House(tmp_path, "uv", tmp_path / "bin")
    recipe = house.recipe("tiny\n")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.environments.ensure, recipe, house.told.append)
        await until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
        assert house.left == [recipe.key, f"{recipe.key}.lock", f"{recipe.key}.scratch"]
        nursery.cancel_scope.cancel()
    assert house.left == []
    pids = [int((tmp_path / "child").read_text()), int(calls.read_text().splitlines()[-1].split()[0])]
    await until(lambda: not any(_alive(pid) for pid in pids))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "sleep 1000")
    house = House(tmp_path, "uv", tmp_path / "bin")
    house.settings = replace(house.settings, timeout=1.0)
    with pytest.raises(FormationFailed, match="within 1s"):
        await house.environments.ensure(house.recipe("tiny\n"), house.told.append)
    assert house.left == []


async def test_an_installer_that_leaves_a_process_behind_does_not_keep_anybody_waiting(
    tmp_path: Path,
) -> None:
    stand_in(tmp_path / "bin", f"sleep 1000 & echo $! > {tmp_path}/child")
    house = House(tmp_path, "uv", tmp_path / "bin")
    with trio.fail_after(30):
        await house.environments.ensure(house.recipe("tiny\n"), house.told.append)
    os.kill(int((tmp_path / "child").read_text()), 9)


async def test_a_full_disk(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "echo 'error: No space left on device (os error 28)'; exit 2")
    house = House(tmp_path, "uv", tmp_path / "bin")
    with pytest.raises(StorageError, match="disk is full") as caught:
        await house.environments.ensure(house.recipe("tiny\n"), house.told.append)
    assert caught.value.code == "DiskFull"
    assert house.left == []


async def test_a_record_that_can_not_be_written_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes, mode: int) -> None:
        raise OSError(28, "No space left on device")

    make_wheel(house.wheels, "tiny")
    monkeypatch.setattr("muxi.environment.record.atomic_write", full)
    with pytest.raises(StorageError, match="No space left"):
        await house.environments.ensure(house.recipe("tiny\n"), house.told.append)
    assert house.left == []
    monkeypatch.setattr("muxi.environment.record.atomic_write", atomic_write)
    await house.environments.ensure(house.recipe("tiny\n"), house.told.append)


async def test_what_a_killed_server_left_is_made_anew(house: House) -> None:
    make_wheel(house.wheels, "tiny")
    recipe = house.recipe("tiny\n")
    for name in (recipe.key, f"{recipe.key}.scratch"):
        (house.place / name / "bin").mkdir(parents=True)
        (house.place / name / "bin" / "python").write_text("half")
    (house.place / f"{recipe.key}.lock").touch()
    made = await house.environments.ensure(recipe, house.told.append)
    assert says(made.python, "-c", "import tiny; print(tiny.version)") == "1.0"
    assert house.left == [recipe.key]


async def test_an_installer_that_outlived_its_server_keeps_others_away(tmp_path: Path) -> None:
    calls = stand_in(tmp_path / "bin", f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done")
    house = House(tmp_path, "uv", tmp_path / "bin")
    recipe = house.recipe("tiny\n")
    house.place.mkdir(parents=True)
    async with held(house.place / f"{recipe.key}.lock") as lock:
        orphan = await trio.lowlevel.open_process(["/bin/sleep", "1000"], pass_fds=(lock,))
        (house.place / f"{recipe.key}.lock").rename(tmp_path / "kept")
    (tmp_path / "kept").rename(house.place / f"{recipe.key}.lock")
    (tmp_path / "go").touch()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.environments.ensure, recipe, house.told.append)
            await until(lambda: any("Waiting for another process" in line for line in house.told))
            assert calls.read_text() == ""
            orphan.kill()
    finally:
        orphan.kill()
        await orphan.wait()
    assert house.left == [recipe.key]


async def test_another_process_that_makes_the_same_is_waited_for(house: House) -> None:
    make_wheel(house.wheels, "tiny")
    recipe = house.recipe("tiny\n")
    beside = house.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.environments.ensure, recipe, house.told.append)
        nursery.start_soon(beside.ensure, recipe, house.told.append)
    assert sum(line.startswith("Making") for line in house.told) == 1


async def test_one_whose_interpreter_has_gone_is_made_anew_under_its_old_name(house: House) -> None:
    make_wheel(house.wheels, "tiny")
    recipe = house.recipe("tiny\n")
    made = await house.environments.ensure(recipe, house.told.append, key="a" * 24)
    assert made.path.name == "a" * 24
    made.python.unlink()
    made.python.symlink_to("/nowhere/python3")
    assert await house.environments.find("a" * 24) is None
    again = await house.environments.ensure(recipe, house.told.append, key="a" * 24)
    assert says(again.python, "-c", "import tiny; print(tiny.version)") == "1.0"


async def test_what_is_not_used_is_removed(house: House) -> None:
    for name in ("one", "two", "three"):
        make_wheel(house.wheels, name)
    one, two, three = [
        await house.environments.ensure(house.recipe(f"{name}\n"), house.told.append)
        for name in ("one", "two", "three")
    ]
    (house.place / ("f" * 24) / "bin").mkdir(parents=True)  # never finished
    (house.place / ("e" * 24 + ".scratch")).mkdir()
    (house.place / "something else").mkdir()
    long_ago = time.time() - RECENTLY - 1
    for environment in (one, two):
        os.utime(environment.path / NAME, (long_ago, long_ago))
    assert {found.path for found in house.environments.list()} == {one.path, two.path, three.path}
    used = {one.path.name}
    assert house.environments.prune(used, dry_run=True) == (two,)
    assert two.path.exists()
    assert house.environments.prune(used) == (two,)
    assert house.left == sorted([one.path.name, three.path.name, "something else"])  # three is too new
    assert house.environments.prune(used) == ()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")
async def test_what_a_process_runs_in_is_not_removed(house: House) -> None:
    """A run for development is written down nowhere, and may run for days."""
    make_wheel(house.wheels, "tiny")
    made = await house.environments.ensure(house.recipe("tiny\n"), house.told.append)
    long_ago = time.time() - RECENTLY - 1
    os.utime(made.path / NAME, (long_ago, long_ago))
    process = await trio.lowlevel.open_process(["/bin/sleep", "1000"], env={"VIRTUAL_ENV": str(made.path)})
    environment = Path(f"/proc/{process.pid}/environ")
    try:
        await until(lambda: environment.read_bytes() != b"")  # the kernel has begun to run it a moment before
        assert house.environments.prune(()) == ()
    finally:
        process.kill()
        await process.wait()
    assert house.environments.prune(()) == (made,)


async def test_what_is_being_made_is_not_removed(tmp_path: Path) -> None:
    calls = stand_in(tmp_path / "bin", f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done")
    house = House(tmp_path, "uv", tmp_path / "bin")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.environments.ensure, house.recipe("tiny\n"), house.told.append)
        await until(lambda: " pip install" in calls.read_text())
        assert await trio.to_thread.run_sync(house.open().prune, ()) == ()
        (tmp_path / "go").touch()
    assert len(house.environments.list()) == 1


async def test_where_there_is_no_installer(tmp_path: Path) -> None:
    house = House(tmp_path, "uv", tmp_path / "bin")
    with pytest.raises(OperatorError, match="uv") as caught:
        await house.environments.ensure(house.recipe("tiny\n"), house.told.append)
    assert caught.value.code == "InstallerNotFound"
    assert house.left == []
