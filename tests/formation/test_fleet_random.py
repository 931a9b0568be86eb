"""Several clients do what they like at once; afterwards disk, registry, routes, ports and processes agree."""

from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muxi.errors import MuxiError
from muxi.formation.wishes import RollbackWish, UpdateWish
from muxi.registry import store
from tests.formation.test_fleet import CRASHING, House, configuration, house
from tests.integration.outside import kill_all, processes
from tests.live import APP, bundle
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.formation.operation import Operation
    from muxi.formation.upload import Upload

IDS = ("first", "second")
COMMANDS = (
    "deploy",
    "update",
    "recreate",
    "broken",
    "rollback",
    "cancel",
    "stop",
    "start",
    "restart",
    "delete",
)
Command = tuple[str, str]

clients = st.lists(
    st.lists(st.tuples(st.sampled_from(COMMANDS), st.sampled_from(IDS)), min_size=1, max_size=6),
    min_size=2,
    max_size=4,
)


class Client:
    """Gives one command after the other, and takes no for an answer."""

    def __init__(self, made: House, marker: str) -> None:
        self._made = made
        self._marker = marker
        #: What failed by a fault of ours.
        self.defects: list[str] = []

    async def run(self, commands: Sequence[Command]) -> None:
        for command, formation_id in commands:
            try:
                await (await self._begin(command, formation_id)).wait()
            except MuxiError as error:
                self.defects += [error.message] if error.status == 500 else []

    async def _begin(self, command: str, formation_id: str) -> Operation:
        fleet = self._made.fleet
        if command in {"deploy", "update", "recreate", "broken"}:
            upload = await self._upload(formation_id, CRASHING if command == "broken" else APP)
            wish = UpdateWish(strategy="recreate" if command == "recreate" else None)
            try:
                if command == "deploy":
                    return fleet.deploy(upload, formation_id, None)
                return fleet.update(upload, formation_id, wish)
            except MuxiError:
                await upload.discard()
                raise
        if command == "rollback":
            return fleet.rollback(formation_id, RollbackWish())
        operation: Operation = getattr(fleet, command)(formation_id)
        return operation

    async def _upload(self, formation_id: str, app: str) -> Upload:
        unique = uuid.uuid4().hex
        command = ["python3", "app.py", self._marker]
        packed = bundle(formation_id, {"app.py": app, "unique": unique}, version="1.0.0", command=command)
        return await self._made.upload(packed)


def directory_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()


async def check(made: House, marker: str) -> None:
    """Everything that says something of a formation says the same."""
    with trio.fail_after(60):
        await made.registry.flush()
    saved = store.load(made.registry.path).records
    views = {view.id: view for view in made.fleet.list()}
    assert set(saved) == set(views)
    homes = {path.name for path in made.facilities.formations_dir.iterdir() if path.name[0] != "."}
    assert homes == set(views)
    assert set(made.routes.live) == {formation_id.encode() for formation_id in views}
    assert made.ports.allocated == len(views)
    running = set()
    for formation_id, view in views.items():
        home = made.facilities.formations_dir / formation_id
        version = json.loads((home / "version.json").read_text())
        current = version["current"]
        assert (home / "current").readlink() == Path("releases") / str(current["version"])
        assert saved[formation_id].bundle_hash == current["bundle_hash"]
        kept = {str(entry["version"]) for entry in (current, version.get("previous")) if entry}
        assert {path.name for path in (home / "releases").iterdir()} == kept
        assert saved[formation_id].other is None
        assert saved[formation_id].stopped == (view.status == "stopped")
        target = made.routes.live[formation_id.encode()].target
        assert (target is not None) == (view.status == "running")
        if view.status == "running":
            assert view.pid is not None
            running.add(view.pid)
            assert directory_of(view.pid) == home / "releases" / str(current["version"])
    await until(lambda: processes(marker) == running)
    workspace = made.facilities.workspace
    assert not workspace.exists() or list(workspace.iterdir()) == []


async def play(directory: Path, marker: str, plan: Sequence[Sequence[Command]]) -> None:
    async with house(configuration(directory), deadline=300) as made:
        players = [Client(made, marker) for _ in plan]
        async with trio.open_nursery() as nursery:
            for player, commands in zip(players, plan, strict=True):
                nursery.start_soon(player.run, commands)
        assert [defect for player in players for defect in player.defects] == []
        await check(made, marker)


@given(clients)
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
def test_whatever_several_clients_do_all_agrees_afterwards(plan: list[list[Command]]) -> None:
    marker = f"marker-{uuid.uuid4().hex}"
    try:
        with tempfile.TemporaryDirectory() as directory:
            trio.run(play, Path(directory), marker, plan)
    finally:
        kill_all(marker)
