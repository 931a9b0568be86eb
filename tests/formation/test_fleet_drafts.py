"""Deploying drafts by a fleet: what becomes of the draft, however the deploy ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxi.errors import Conflict, FormationFailed, RequestError, StorageError
from tests.formation.test_fleet import CRASHING, FOREVER, House, configuration, house
from tests.live import APP, manifest
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.formation.drafts import Draft


def drafted(made: House, app: str = APP, formation_id: str = "my-bot") -> Draft:
    draft = made.facilities.draft(formation_id)
    draft.create()
    draft.write("formation.afs", manifest(formation_id).encode())
    draft.write("app.py", app.encode())
    return draft


async def test_a_deployed_draft_is_gone(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        draft = drafted(made)
        operation = made.fleet.deploy_draft("my-bot")
        result = await operation.wait()
        assert (result["status"], result["version"]) == ("running", "1.0.0")
        assert [event.data["message"] for event in operation.events[:2]] == [
            "Deploying new formation from draft...",
            "Validating formation...",
        ]
        assert draft.meta() is None
        release = made.facilities.releases("my-bot").current()
        assert release is not None
        assert release.bundle_hash == release.content_hash != ""
        assert sorted(path.name for path in release.path.iterdir() if not path.is_symlink()) == [
            "app.py",
            "formation.afs",
        ]
        with pytest.raises(Conflict):
            made.fleet.deploy_draft("my-bot")


async def test_a_draft_that_was_edited_meanwhile_stays(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        draft = drafted(made)
        operation = made.fleet.deploy_draft("my-bot")
        await until(lambda: operation.stage in {"spawning", "health_check"})
        draft.write("notes.txt", b"written while it was deployed")
        await operation.wait()
        assert draft.read("notes.txt") == ("notes.txt", b"written while it was deployed")


@pytest.mark.parametrize(
    ("app", "text", "error"),
    [
        (CRASHING, manifest("my-bot"), FormationFailed),
        (APP, manifest("your-bot"), RequestError),
        (APP, "id: [", RequestError),
        (APP, manifest("my-bot", muxi_runtime="one", description="x"), RequestError),
        (APP, manifest("my-bot", env={"A": "${{ secrets.A }}"}), RequestError),
    ],
    ids=["it crashes", "another id", "no manifest", "no runtime", "no secrets"],
)
async def test_a_draft_that_fails_is_kept(
    tmp_path: Path, app: str, text: str, error: type[Exception]
) -> None:
    async with house(configuration(tmp_path)) as made:
        draft = drafted(made, app)
        draft.write("formation.afs", text.encode())
        before = draft.fingerprint()
        with pytest.raises(error):
            await made.fleet.deploy_draft("my-bot").wait()
        assert draft.fingerprint() == before
        assert made.fleet.list() == []
        assert [path.name for path in draft.root.parent.iterdir()] == ["draft"]
        assert not any(made.facilities.workspace.iterdir())
        draft.write("formation.afs", manifest("my-bot").encode())
        draft.write("app.py", APP.encode())
        await made.fleet.deploy_draft("my-bot").wait()


async def test_a_delete_that_takes_the_deploy_back_leaves_the_draft(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        draft = drafted(made, FOREVER)
        before = draft.fingerprint()
        operation = made.fleet.deploy_draft("my-bot")
        await until(lambda: operation.stage == "health_check")
        await made.fleet.delete("my-bot").wait()
        with pytest.raises(Conflict, match="cancelled"):
            await operation.wait()
        assert made.fleet.list() == []
        assert draft.fingerprint() == before


async def test_a_delete_of_what_is_deployed_takes_its_draft_along(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        drafted(made)
        await made.fleet.deploy_draft("my-bot").wait()
        draft = drafted(made)
        await made.fleet.delete("my-bot").wait()
        assert draft.meta() is None
        assert not draft.root.parent.exists()


async def test_a_server_that_was_killed_in_the_middle_leaves_the_draft(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    async with house(config) as made:
        draft = drafted(made)
        await made.fleet.deploy_draft("my-bot").wait()
        draft = drafted(made)
        before = draft.fingerprint()
    for name in ("version.json", "current"):  # as it is before the commit
        (draft.root.parent / name).unlink()
    async with house(config) as made:
        for operation in await made.fleet.restore():
            await operation.wait()
        assert made.registry.records == {}
        assert [path.name for path in draft.root.parent.iterdir()] == ["draft"]
        assert draft.fingerprint() == before


async def test_a_formation_whose_version_json_is_lost_is_left_as_it_is(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    async with house(config) as made:
        await made.deploy("my-bot")
        await made.deploy("your-bot")
    home = made.facilities.formations_dir / "my-bot"
    (home / "version.json").unlink()
    async with house(config) as made:
        mine, yours = await made.fleet.restore()
        with pytest.raises(StorageError, match="is gone, though there are releases"):
            await mine.wait()
        await yours.wait()
        assert (home / "releases" / "1" / "app.py").is_file()
        await made.fleet.delete("my-bot").wait()
        assert not home.exists()
    (made.facilities.formations_dir / "your-bot" / "version.json").unlink()
    (config.paths.data_dir / "registry.json").unlink()
    async with house(config) as made:
        assert await made.fleet.restore() == []
        assert (made.facilities.formations_dir / "your-bot" / "releases" / "1").is_dir()
