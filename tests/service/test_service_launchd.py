from __future__ import annotations

import plistlib
import sys
from pathlib import Path

import pytest

from muxi.errors import OperatorError
from muxi.service.definition import Definition
from muxi.service.launchd import Launchd, property_list
from tests.service.tools import Tools

GOLDEN = Path(__file__).parent / "golden"
AGENT = Definition(("/opt/homebrew/bin/muxi-server",), 90, Path("/Users/me/.muxi/server/logs"))
DAEMON = Definition(
    ("/usr/local/bin/muxi-server",),
    90,
    Path("/srv/logs"),
    user="me",
    environment={"MUXI_DATA_DIR": "/srv/a & b"},
)


@pytest.mark.parametrize(("name", "definition"), [("agent.plist", AGENT), ("daemon.plist", DAEMON)])
def test_the_property_list_is_as_it_was(name: str, definition: Definition) -> None:
    assert property_list(definition) == (GOLDEN / name).read_bytes()


def test_what_launchd_has_to_know_is_in_it() -> None:
    facts = plistlib.loads(property_list(DAEMON))
    assert facts["Label"] == "ai.muxi.server"
    assert facts["ProgramArguments"] == ["/usr/local/bin/muxi-server", "start"]
    assert (facts["RunAtLoad"], facts["KeepAlive"], facts["AbandonProcessGroup"]) == (True, True, True)
    assert (facts["UserName"], facts["EnvironmentVariables"]) == ("me", {"MUXI_DATA_DIR": "/srv/a & b"})


def test_an_install_loads_it(tmp_path: Path) -> None:
    tools = Tools({})
    manager = Launchd(user=True, home=tmp_path, run=tools, uid=501)
    assert manager.install(AGENT) == []
    assert manager.file == tmp_path / "Library/LaunchAgents/ai.muxi.server.plist"
    assert tools.ran == [
        "launchctl bootout gui/501/ai.muxi.server",
        f"launchctl bootstrap gui/501 {manager.file}",
    ]
    assert manager.uninstall()
    assert not manager.file.exists()
    assert not manager.uninstall()


def test_the_originals_agent_makes_way_and_is_kept(tmp_path: Path) -> None:
    old = tmp_path / "Library/LaunchAgents/org.muxi.server.plist"
    old.parent.mkdir(parents=True)
    old.write_text("theirs")
    tools = Tools({})
    [remark] = Launchd(user=True, home=tmp_path, run=tools, uid=501).install(AGENT)
    assert not old.exists()
    assert old.with_name("org.muxi.server.plist.replaced").read_text() == "theirs"
    assert "original's" in remark
    assert tools.ran[0] == "launchctl bootout gui/501/org.muxi.server"


def test_the_machines_daemon(tmp_path: Path) -> None:
    tools = Tools(
        {"launchctl print system/ai.muxi.server": "system/ai.muxi.server = {\n\tstate = running\n}"}
    )
    manager = Launchd(user=False, home=tmp_path, run=tools, root=tmp_path, uid=0)
    manager.install(DAEMON)
    assert manager.file == tmp_path / "Library/LaunchDaemons/ai.muxi.server.plist"
    found = manager.condition()
    assert (found.installed, found.running, found.detail) == (True, True, "running")


def test_what_launchctl_refuses_is_told(tmp_path: Path) -> None:
    manager = Launchd(user=True, home=tmp_path, uid=501, run=Tools({}))
    tools = Tools(
        {f"launchctl bootstrap gui/501 {manager.file}": (5, "Bootstrap failed: 5: Input/output error")}
    )
    with pytest.raises(OperatorError, match="Input/output error"):
        Launchd(user=True, home=tmp_path, uid=501, run=tools).install(AGENT)


@pytest.mark.skipif(sys.platform == "win32", reason="paths of a POSIX system")
def test_a_place_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "Library").write_text("a file where a directory should be")
    with pytest.raises(OperatorError, match="can't be written"):
        Launchd(user=True, home=tmp_path, uid=501, run=Tools({})).install(AGENT)
