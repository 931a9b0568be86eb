"""Drafts, downloads and dry runs of a whole server, and the data of the original taken over by one."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tests.integration.outside import deployed, processes
from tests.live import APP, bundle, free_ports, manifest, running, write_config

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.live import LiveServer


def act(
    server: LiveServer, formation_id: str, action: str, *, accept: str = "*/*", **fields: object
) -> httpx.Response:
    return server.rpc(
        "POST",
        f"/rpc/formations/{formation_id}/draft/files",
        content=json.dumps({"action": action, **fields}).encode(),
        headers={"Content-Type": "application/json", "Accept": accept},
    )


def state(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["draft"]
    return found


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_template_is_deployed_and_its_draft_is_gone(server: LiveServer) -> None:
    assert act(server, "from-nothing", "init", mode="new").status_code == 200
    answer = act(server, "from-nothing", "deploy", accept="text/event-stream")
    assert answer.headers["content-type"] == "text/event-stream"
    assert "Deploying new formation from draft..." in answer.text
    assert answer.text.rstrip().rpartition("event: ")[2].startswith("complete")
    assert server.get("/api/from-nothing/").json() == {"message": "Hello."}
    listed = act(server, "from-nothing", "list")
    assert (listed.status_code, state(listed)) == (404, {"exists": False})
    assert listed.json()["live"] == {"version": "1.0.0", "status": "running"}
    assert act(server, "from-nothing", "init", mode="clone").status_code == 200
    refused = act(server, "from-nothing", "deploy")
    assert (refused.status_code, refused.json()["error_code"]) == (409, "NoChange")
    new = manifest("from-nothing", command=["python3", "app.py", "changed"], version="1.0.1")
    assert act(server, "from-nothing", "write", path="formation.afs", content=new).status_code == 200
    answer = act(server, "from-nothing", "deploy", accept="text/event-stream")
    assert "Updating formation from draft..." in answer.text
    assert answer.text.rstrip().rpartition("event: ")[2].startswith("complete")
    assert server.get("/api/from-nothing/").json() == {"message": "Hello."}
    assert state(act(server, "from-nothing", "list")) == {"exists": False}
    assert server.rpc("DELETE", "/rpc/formations/from-nothing").status_code == 200
    assert not (server.formations / "from-nothing").exists()


def test_a_draft_that_fails_is_kept_and_can_be_mended(server: LiveServer, marker: str) -> None:
    files = server.files()
    act(server, "to-mend", "init", mode="new")
    broken = {"path": "app.py", "content": "raise SystemExit('not like this')"}
    command = {"path": "formation.afs", "content": manifest("to-mend", command=["python3", "app.py", marker])}
    for file in (broken, command):
        assert act(server, "to-mend", "write", **file).status_code == 200
    before = {
        path: path.read_bytes() for path in (server.formations / "to-mend").rglob("*") if path.is_file()
    }
    answer = act(server, "to-mend", "deploy")
    assert answer.status_code == 400
    assert "not like this" in answer.text
    assert contents(server.formations / "to-mend") == before
    assert server.rpc("GET", "/rpc/formations/to-mend").status_code == 404
    assert processes(marker) == set()
    act(server, "to-mend", "write", path="app.py", content=APP)
    assert act(server, "to-mend", "deploy").status_code == 201
    assert server.get("/api/to-mend/x").json() == {"path": "/x"}
    server.rpc("DELETE", "/rpc/formations/to-mend")
    assert {name for name in server.files() - files if "/.tmp" not in name} == set()


def test_a_draft_outlives_a_failed_deploy_of_a_bundle_and_the_server(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        act(server, "kept", "init", mode="new")
        failing = bundle("kept", {"app.py": "raise SystemExit(1)"})
        assert server.deploy("kept", failing).status_code == 400
        assert state(act(server, "kept", "list"))["exists"]
    with running(tmp_path) as server:
        assert state(act(server, "kept", "list"))["exists"]
        assert act(server, "kept", "deploy").status_code == 201


def test_a_download_has_the_database_as_it_is(server: LiveServer, tmp_path: Path) -> None:
    deployed(server, "with-rows")
    with closing(sqlite3.connect(server.formations / "with-rows" / "current" / "memory.db")) as live, live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("CREATE TABLE notes (text)")
        live.execute("INSERT INTO notes VALUES ('kept')")
    answer = server.rpc("GET", "/rpc/formations/with-rows/download?db=true")
    assert answer.headers["content-disposition"] == 'attachment; filename="with-rows.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {"formation.afs", "app.py", "memory.db"} <= set(archive.namelist())
        archive.extractall(tmp_path)
    with closing(sqlite3.connect(tmp_path / "memory.db")) as copy:
        assert copy.execute("SELECT text FROM notes").fetchall() == [("kept",)]
    server.rpc("DELETE", "/rpc/formations/with-rows")


def test_a_dry_run_leaves_nothing(server: LiveServer) -> None:
    before = server.files()
    for content, status in ((bundle("dry"), 200), (bundle("dry", {"app.py": ""}, command=["nope"]), 400)):
        answer = server.rpc(
            "POST", "/rpc/formations/validate", content=content, headers={"Content-Type": "application/gzip"}
        )
        assert answer.status_code == status, answer.text
    assert server.files() == before


def test_the_data_of_the_original_is_taken_over(tmp_path: Path) -> None:
    start, end = free_ports()
    write_config(tmp_path, ports=(start, end))
    data = tmp_path / "data"
    current = data / "formations" / "old-one" / "current"
    current.mkdir(parents=True)
    (current / "formation.afs").write_text(manifest("old-one", version="3.1.0"))
    (current / "app.py").write_text(APP)
    with closing(sqlite3.connect(current / "memory.db")) as live, live:
        live.execute("CREATE TABLE notes (text)")
        live.execute("INSERT INTO notes VALUES ('remembered')")
    version = {"version": 1, "deployed_at": "2026-03-04T05:06:07+01:00", "bundle_hash": "ab" * 32}
    (current.parent / "version.json").write_text(json.dumps({"current_version": 1, "current": version}))
    record = {"id": "old-one", "name": "Old", "port": start + 7, "status": "running", "restart_count": 0}
    (data / "registry.json").write_text(json.dumps({"version": 1, "formations": [record]}))
    for _ in range(2):
        with running(tmp_path) as server:
            found = server.wait_until("old-one", status="running", healthy=True)
            assert (found["name"], found["port"]) == ("Old", start + 7)
            assert found["version"] == {"semantic": "3.1.0", "current": "ab" * 32, "previous": ""}
            assert server.get("/api/old-one/x").json() == {"path": "/x"}
    with closing(sqlite3.connect(data / "formations" / "old-one" / "state" / "memory.db")) as kept:
        assert kept.execute("SELECT text FROM notes").fetchall() == [("remembered",)]
