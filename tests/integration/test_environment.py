"""What a formation is given: the documented variables, its own, and nothing of the server's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.integration.outside import deployed
from tests.live import environment, running

DOCUMENTED = {
    "PORT",
    "HOST",
    "FORMATION_ID",
    "MUXI_SERVER_URL",
    "MUXI_ENV",
    "_port",
    "_bind_host",
    "PATH",
    "HOME",
    "LANG",
    "PYTHONUNBUFFERED",
    "MUXI_INSTANCE_TOKEN",
}
OF_THE_SYSTEM = {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}
"""What Python or macOS puts into the environment of a program by itself."""


def test_only_the_documented_variables(tmp_path: Path) -> None:
    with running(tmp_path, CANARY="of the server", OPENAI_API_KEY="of the server") as server:
        deployed(server, "bare", env={"GREETING": "hello", "SPACED": " a b "})
        found = server.get("/api/bare/env").json()
        port = server.formation("bare")["port"]
    assert found.keys() - OF_THE_SYSTEM == DOCUMENTED | {"GREETING", "SPACED"}
    assert "of the server" not in found.values()
    assert (found["GREETING"], found["SPACED"]) == ("hello", " a b ")
    assert (found["PORT"], found["_port"]) == (str(port), str(port))
    assert (found["HOST"], found["_bind_host"]) == ("127.0.0.1", "127.0.0.1")
    assert (found["FORMATION_ID"], found["MUXI_ENV"]) == ("bare", "production")
    assert found["MUXI_SERVER_URL"] == server.url.replace("127.0.0.1", "localhost")
    assert found["PATH"] == environment(tmp_path)["PATH"]
    assert found["HOME"] == str(server.formations / "bare" / "state")


@pytest.mark.skipif(sys.platform != "linux", reason="open files are looked up in /proc")
def test_the_process_has_no_file_of_the_server_open(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        deployed(server, "closed")
        pid = server.get("/api/closed/x").json()["pid"]
        targets = {link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
        logs = server.data / "logs"
        ours = {target for target in targets if target.is_relative_to(tmp_path)}
        assert ours == {logs / "closed-out.log", logs / "closed-err.log"}
