from __future__ import annotations

import io
import random
import sqlite3
import stat
import threading
import zipfile
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxi.config.model import Paths, defaults
from muxi.formation import zipping
from muxi.formation.releases import workspace
from tests.api.harness import Answer, Api, make_api, make_scope, view
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/rpc/formations/my-bot/download"
FILES = {
    "formation.afs": "id: my-bot",
    "app.py": "print()",
    "agents/one.afs": "id: one",
    "secrets.enc": "encrypted",
    ".key": "the key",
    ".env": "A=1",
    ".git/config": "x",
    "MUXI.md": "tuned",
    "data/memory.db": "another",
}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return deployed(tmp_path)


def deployed(tmp_path: Path, **settings: object) -> Api:
    paths = Paths(*(tmp_path / name for name in ("config", "data", "log", "cache", "config.yaml")))
    config = defaults(paths)
    config = replace(config, formations=replace(config.formations, **settings))  # type: ignore[arg-type]
    api = make_api(tmp_path, view("my-bot"), config=config)
    root = workspace(api.facilities.formations_dir) / "extracted"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "app.py").chmod(0o755)
    (root / "empty").mkdir()
    api.facilities.releases("my-bot").install(root, semantic="1.0.0", bundle_hash="b", content_hash="c")
    return api


def contents(answer: Answer) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_a_download_is_flat_and_has_no_database(api: Api) -> None:
    answer = await api.get(PATH)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="my-bot.zip"'
    assert contents(answer) == {
        ".env": b"A=1",
        "MUXI.md": b"tuned",
        "agents/": b"",
        "agents/one.afs": b"id: one",
        "app.py": b"print()",
        "data/": b"",
        "empty/": b"",
        "formation.afs": b"id: my-bot",
        "secrets.enc": b"encrypted",
    }


async def test_the_modes_are_set(api: Api) -> None:
    answer = await api.get(PATH)
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        modes = {item.filename: item.external_attr >> 16 for item in archive.infolist()}
        assert {item.create_system for item in archive.infolist()} == {3}
    assert modes["agents/"] == stat.S_IFDIR | 0o755
    assert modes["app.py"] == stat.S_IFREG | 0o755
    assert modes["formation.afs"] == stat.S_IFREG | 0o644
    assert modes["secrets.enc"] == modes[".env"] == stat.S_IFREG | 0o600


@pytest.mark.parametrize(
    ("choice", "held"),
    [("all", {".key", ".env", "secrets.enc"}), ("encrypted", {".env", "secrets.enc"}), ("none", set())],
)
async def test_the_configuration_says_which_secrets(tmp_path: Path, choice: str, held: set[str]) -> None:
    found = contents(await deployed(tmp_path, download_secrets=choice).get(PATH))
    assert {name for name in found if name in {".key", ".env", "secrets.enc"}} == held


@pytest.mark.parametrize("query", ["?db=1", "?db=TRUE", "?db="])
async def test_only_true_means_the_database(api: Api, query: str) -> None:
    (api.facilities.releases("my-bot").state / "memory.db").write_text("x")
    assert "memory.db" not in contents(await api.get(PATH + query))


async def test_the_database_is_whole_while_it_is_written_to(api: Api, tmp_path: Path) -> None:
    database = api.facilities.releases("my-bot").home / "current" / "memory.db"
    with closing(sqlite3.connect(database)) as live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("CREATE TABLE a (n)")
        live.execute("CREATE TABLE b (n)")
        live.commit()
        stop, written = threading.Event(), threading.Event()

        def write() -> None:
            with closing(sqlite3.connect(database, timeout=30)) as other:
                number = 0
                while not stop.is_set():
                    with other:
                        other.execute("INSERT INTO a VALUES (?)", (number,))
                        other.execute("INSERT INTO b VALUES (?)", (number,))
                    number += 1
                    if number > 20:
                        written.set()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert await trio.to_thread.run_sync(written.wait, 30)
            answer = await api.get(f"{PATH}?db=true")
        finally:
            stop.set()
            await trio.to_thread.run_sync(writer.join)
    found = contents(answer)
    assert not {"memory.db-wal", "memory.db-shm"} & set(found)
    copy = tmp_path / "copy.db"
    copy.write_bytes(found["memory.db"])
    with closing(sqlite3.connect(copy)) as read:
        (sound,) = read.execute("PRAGMA integrity_check").fetchone()
        first, second = (read.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in "ab")
    assert sound == "ok"
    assert first == second > 20


async def test_nothing_is_left_behind(api: Api) -> None:
    (api.facilities.releases("my-bot").state / "memory.db").write_text("no SQLite")
    found = contents(await api.get(f"{PATH}?db=true"))
    assert (found["memory.db"], found["data/memory.db"]) == (b"no SQLite", b"another")
    assert list(workspace(api.facilities.formations_dir).iterdir()) == []


async def test_a_database_that_is_not_sound_is_said_before_the_answer(api: Api) -> None:
    (api.facilities.releases("my-bot").state / "memory.db").write_bytes(b"SQLite format 3\0" + bytes(84))
    answer = await api.get(f"{PATH}?db=true")
    assert answer.status == 500
    assert answer.json["error_code"] == "DatabaseError"
    assert list(workspace(api.facilities.formations_dir).iterdir()) == []


async def test_a_database_that_stays_locked_is_not_waited_for_for_ever(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = api.facilities.releases("my-bot").state / "memory.db"
    monkeypatch.setattr(zipping, "BUSY_SECONDS", 0.0)
    with closing(sqlite3.connect(database)) as live:
        live.execute("CREATE TABLE a (n)")
        live.execute("BEGIN EXCLUSIVE")
        answer = await api.get(f"{PATH}?db=true")
    assert (answer.status, answer.json["error_code"]) == (500, "DatabaseError")
    assert "locked" in answer.json["message"]


async def test_links_that_an_app_made_are_not_followed(api: Api, tmp_path: Path) -> None:
    release = api.facilities.releases("my-bot").current()
    assert release is not None
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("not yours")
    (release.path / "link").symlink_to(tmp_path / "outside")
    (release.path / "agents" / "memory.md").symlink_to(tmp_path / "outside" / "file")
    (release.path / "MUXI.md").unlink()
    (release.path / "MUXI.md").symlink_to(tmp_path / "outside" / "file")
    state = api.facilities.releases("my-bot").state
    for name in ("PENDING-MUXI.md", "memory.db"):
        (state / name).symlink_to(tmp_path / "outside" / "file")
    answer = await api.get(f"{PATH}?db=true")
    assert b"not yours" not in b"".join(contents(answer).values())


async def test_a_file_that_replaced_a_link_is_there_once(api: Api) -> None:
    release = api.facilities.releases("my-bot").current()
    assert release is not None
    (release.path / "MUXI.md").unlink()
    (release.path / "MUXI.md").write_text("written by the app")
    assert contents(await api.get(PATH))["MUXI.md"] == b"written by the app"


async def test_who_is_not_there(tmp_path: Path) -> None:
    api = make_api(tmp_path, view("my-bot"))
    for path, message in (
        (PATH, "Formation files not found"),
        ("/rpc/formations/nobody/download", "Formation not found"),
    ):
        answer = await api.get(path)
        assert (answer.status, answer.json["message"]) == (404, message)
    assert (await api.call("GET", PATH, signed=False)).status == 401


async def test_a_head_request_has_no_body(api: Api) -> None:
    answer = await api.call("HEAD", PATH)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "application/zip"


async def test_a_slow_client_holds_the_reading(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large formation only so much is read as the client takes, and its leaving ends it."""
    release = api.facilities.releases("my-bot").current()
    assert release is not None
    for number in range(64):
        (release.path / f"file{number}").write_bytes(noise(zipping.PIECE))
    added = 0
    add = zipping._add

    def count(*arguments: object) -> None:
        nonlocal added
        added += 1
        add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(zipping, "_add", count)
    headers = {"Authorization": api.signature("GET", PATH)}
    gate = trio.Event()
    async with api.exchange(make_scope("GET", PATH, headers)) as exchange:
        from_app = exchange._from_app

        async def held(message: dict[str, object]) -> None:
            if message["type"] == "http.response.body":
                await gate.wait()
            await from_app(message)

        exchange._from_app = held  # type: ignore[method-assign]
        await exchange.send(b"", last=True)
        await exchange.started.wait()
        await until(lambda: added >= 3, 30)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert added < 20
        await exchange.leave()
    assert added < 25


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def test_a_file_that_cannot_be_read_cuts_the_answer_off(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(zipping, "_add", broken)
    with pytest.RaisesGroup(OSError, allow_unwrapped=True, flatten_subgroups=True):
        await api.get(PATH)
