"""Directories run as they are."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.errors import Conflict, FormationFailed, MuxiError, NotFound
from muxi.formation.dev import DevRuns
from muxi.process.procfs import hash_token
from tests.formation.test_fleet import CRASHING, FOREVER, House, alive, configuration, house
from tests.live import APP, manifest
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SAYS = """
import http.server, os
WORD = {word!r}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(WORD.encode())

    def log_message(self, *args):
        pass

print("up", WORD, flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def project(tmp_path: Path, app: str = APP, formation_id: str = "my-bot") -> Path:
    directory = tmp_path / "project"
    directory.mkdir(exist_ok=True)
    (directory / "formation.afs").write_text(manifest(formation_id))
    (directory / "app.py").write_text(app)
    return directory


@asynccontextmanager
async def runs(made: House) -> AsyncIterator[DevRuns]:
    async with trio.open_nursery() as nursery:
        dev = DevRuns(made.facilities)
        await nursery.start(dev.hold)
        yield dev
        nursery.cancel_scope.cancel()


def leftovers(made: House) -> list[str]:
    found = made.facilities.dev_dir
    return [path.name for path in found.iterdir()] if found.exists() else []


async def word(made: House, formation_id: str = "my-bot") -> str:
    target = made.routes.draft[formation_id.encode()].target
    assert target is not None
    url = f"http://127.0.0.1:{target.port}/"
    answer = await trio.to_thread.run_sync(lambda: urllib.request.urlopen(url, timeout=30).read())
    return str(answer, "utf-8")


async def test_a_directory_runs_beside_a_live_formation_of_its_id(tmp_path: Path) -> None:
    directory = project(tmp_path, SAYS.format(word="draft"))
    before = sorted(directory.iterdir())
    async with house(configuration(tmp_path)) as made, runs(made) as dev:
        await made.deploy("my-bot")
        live = made.routes.live[b"my-bot"].target
        assert live is not None
        run = await dev.start(str(directory))
        assert (run.id, run.port) == ("my-bot", made.routes.draft[b"my-bot"].target.port)  # type: ignore[union-attr]
        assert run.port != live.port
        assert await word(made) == "draft"
        assert made.routes.live[b"my-bot"].target is live
        assert run.instance is not None
        pid = run.instance.pid
        await dev.stop("my-bot")
        assert b"my-bot" not in made.routes.draft
        assert made.routes.live[b"my-bot"].target is live
        assert not alive(pid)
        assert made.ports.allocated == 1
        assert leftovers(made) == []
    assert sorted(directory.iterdir()) == before


async def test_what_runs_is_told_with_its_output(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made, runs(made) as dev:
        assert dev.list() == []
        with pytest.raises(NotFound):
            await dev.logs("my-bot")
        directory = project(tmp_path, SAYS.format(word="draft"))
        run = await dev.start(str(directory), watch=True)
        (view,) = dev.list()
        assert run.instance is not None
        assert (view.id, view.name, view.directory, view.watch) == ("my-bot", "A test", directory, True)
        assert (view.status, view.healthy, view.port) == ("running", True, run.port)
        assert (view.pid, view.restart_count, view.reason) == (run.instance.pid, 0, None)
        files, ended = await dev.logs("my-bot")
        assert files.stdout.read_text() == "up draft\n"
        assert not ended.is_set()
        await dev.stop("my-bot")
        assert ended.is_set()
        assert dev.list() == []
        # What it said last can still be read.
        assert (await dev.logs("my-bot"))[0] == files
        assert (await dev.logs("my-bot"))[1].is_set()


@pytest.mark.parametrize("name", ["nobody", "..", "a/../../b"])
async def test_there_is_no_output_of_what_never_ran(tmp_path: Path, name: str) -> None:
    async with house(configuration(tmp_path)) as made, runs(made) as dev:
        (made.config.formations.logs_dir / "...dev-out.log").write_text("not a run's")
        with pytest.raises(NotFound):
            await dev.logs(name)


async def test_the_same_directory_twice_is_refused(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made, runs(made) as dev:
        run = await dev.start(str(project(tmp_path)))
        with pytest.raises(Conflict, match=f"already running on port {run.port}. Run 'muxi down' first"):
            await dev.start(str(project(tmp_path)))
        await dev.shut_down()
        with pytest.raises(NotFound):
            await dev.stop("my-bot")


@pytest.mark.parametrize(
    ("app", "words"), [(CRASHING, "the reason"), ("import nothing_of_the_kind", "nothing_of")]
)
async def test_one_that_does_not_come_up_leaves_nothing(tmp_path: Path, app: str, words: str) -> None:
    async with house(configuration(tmp_path)) as made, runs(made) as dev:
        with pytest.raises(FormationFailed, match=words) as raised:
            await dev.start(str(project(tmp_path, app)))
        assert raised.value.details["log_tail"]
        assert made.routes.draft == {}
        assert made.ports.allocated == 0
        assert leftovers(made) == []
        await dev.start(str(project(tmp_path)))


async def test_a_client_that_leaves_before_it_is_up_ends_it(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made, runs(made) as dev:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(dev.start, str(project(tmp_path, FOREVER)))
                await until(lambda: b"my-bot" in made.routes.draft)
                scope.cancel()
        await until(lambda: made.ports.allocated == 0)
        assert made.routes.draft == {}


@pytest.mark.parametrize(
    ("path", "formation_id", "words"),
    [
        (None, None, "Either path or formation_id"),
        ("relative/path", None, "must be absolute"),
        (7, None, "must be absolute"),
        ("/nowhere/at/all", None, "directory not found"),
        ("/", None, "formation.afs not found"),
        (None, "../../etc", "Invalid formation_id"),
        (None, "no-draft", "draft directory not found"),
    ],
)
async def test_what_is_no_formation_is_refused(
    tmp_path: Path, path: object, formation_id: object, words: str
) -> None:
    async with house(configuration(tmp_path)) as made, runs(made) as dev:
        with pytest.raises(MuxiError, match=words):
            await dev.start(path, formation_id)
        assert made.ports.allocated == 0


async def test_a_formations_draft_runs_by_its_id(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made, runs(made) as dev:
        draft = made.facilities.formations_dir / "my-bot" / "draft"
        draft.mkdir(parents=True)
        (draft / "formation.afs").write_text(manifest("my-bot"))
        (draft / "app.py").write_text(SAYS.format(word="from the draft"))
        await dev.start(None, "my-bot")
        assert await word(made) == "from the draft"


async def test_a_change_of_a_file_restarts_it(tmp_path: Path) -> None:
    directory = project(tmp_path, SAYS.format(word="one"))
    async with house(configuration(tmp_path)) as made, runs(made) as dev:
        run = await dev.start(str(directory), watch=True)
        assert await word(made) == "one"
        first = run.instance
        (directory / "app.py").write_text("this is no program")
        await until(lambda: run.instance is not first and run.instance is not None and not run.alive)
        assert made.routes.draft[b"my-bot"].state == "crashed"
        (directory / "app.py").write_text(SAYS.format(word="two"))
        await until(lambda: made.routes.draft[b"my-bot"].target is not None)
        assert await word(made) == "two"
        log = made.config.formations.logs_dir / "my-bot.dev-out.log"
        assert log.read_text() == "up two\n"
        await dev.stop("my-bot")


async def test_one_that_has_crashed_for_good_makes_way(tmp_path: Path) -> None:
    config = configuration(tmp_path, auto_restart=False)
    async with house(config) as made, runs(made) as dev:
        run = await dev.start(str(project(tmp_path)))
        assert run.instance is not None
        assert run.instance.pid is not None
        os.kill(run.instance.pid, signal.SIGKILL)
        await until(lambda: not run.alive)
        again = await dev.start(str(project(tmp_path)))
        assert again is not run
        assert made.ports.allocated == 1


async def test_what_a_killed_server_left_is_ended(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        made.facilities.dev_dir.mkdir(parents=True)
        mark = made.facilities.dev_dir / "my-bot.json"
        mark.write_text(json.dumps({"token_sha256": hash_token(b"left-behind")}))
        (made.facilities.dev_dir / "my-bot").mkdir()
        left = await trio.lowlevel.open_process(
            ["sleep", "600"], env={"PATH": os.environ["PATH"], "MUXI_INSTANCE_TOKEN": "left-behind"}
        )
        async with runs(made):
            assert await left.wait() == -signal.SIGTERM
            await until(lambda: leftovers(made) == [])


async def test_a_run_that_begins_with_the_server_is_not_taken_for_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end(*_: object) -> bool:
        ending.set()
        await gate.wait()
        return True

    ending, gate = trio.Event(), trio.Event()
    monkeypatch.setattr("muxi.formation.dev.end_process", end)
    async with house(configuration(tmp_path)) as made:
        made.facilities.dev_dir.mkdir(parents=True)
        (made.facilities.dev_dir / "my-bot.json").write_text(json.dumps({"token_sha256": "ab" * 32}))
        async with runs(made) as dev, trio.open_nursery() as nursery:
            nursery.start_soon(dev.start, str(project(tmp_path)))
            await ending.wait()
            await trio.testing.wait_all_tasks_blocked(0.2)
            assert dev.list() == []
            gate.set()
            await until(lambda: [view.status for view in dev.list()] == ["running"])
            assert leftovers(made) == ["my-bot", "my-bot.json"]
            await dev.stop("my-bot")


async def test_leftovers_that_can_not_be_removed_do_not_end_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    async with house(configuration(tmp_path)) as made:
        made.facilities.dev_dir.mkdir(parents=True)
        (made.facilities.dev_dir / "my-bot.json").write_text(json.dumps({"token_sha256": "ab" * 32}))
        monkeypatch.setattr("muxi.formation.dev.remove_tree", refuse)
        async with runs(made) as dev:
            run = await dev.start(str(project(tmp_path, formation_id="other-bot")))
            assert run.alive
            await dev.stop("other-bot")
