from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from muxi.errors import OperatorError
from muxi.service.definition import Definition
from muxi.service.scheduler import TaskScheduler, task
from tests.service.tools import Tools

GOLDEN = Path(__file__).parent / "golden"
DEFINITION = Definition(("C:/Program Files/R&D/muxi-server.exe", "-m", "a b"), 90, Path("/data/logs"))
SPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


@pytest.mark.parametrize(("name", "at_logon"), [("boot-task.xml", False), ("logon-task.xml", True)])
def test_the_task_is_as_it_was(name: str, at_logon: bool) -> None:
    assert task(DEFINITION, at_logon=at_logon) == (GOLDEN / name).read_text()


def test_the_task_is_xml_and_names_the_command() -> None:
    root = ET.fromstring(task(DEFINITION, at_logon=False).replace('encoding="UTF-16"', ""))
    assert root.findtext(f".//{SPACE}Command") == "C:/Program Files/R&D/muxi-server.exe"
    assert root.findtext(f".//{SPACE}Arguments") == '-m "a b" start'


def test_an_install_creates_and_starts_it(tmp_path: Path) -> None:
    tools = Tools({"schtasks /Query /TN MUXI Server /FO CSV /NH": '"\\MUXI Server","N/A","Running"\r\n'})
    manager = TaskScheduler(user=False, data_dir=tmp_path, run=tools)
    manager.install(DEFINITION)
    assert manager.file.read_bytes().decode("utf-16") == (GOLDEN / "boot-task.xml").read_text()
    assert tools.ran == [
        f"schtasks /Create /TN MUXI Server /XML {manager.file} /F",
        "schtasks /Run /TN MUXI Server",
    ]
    found = manager.condition()
    assert (found.installed, found.running) == (True, True)
    assert manager.uninstall()
    assert "schtasks /Delete /TN MUXI Server /F" in tools.ran
    assert not manager.file.exists()


def test_one_that_is_not_there_is_not_removed(tmp_path: Path) -> None:
    tools = Tools(
        {"schtasks /Query /TN MUXI Server": (1, "ERROR: The system cannot find the file specified.")}
    )
    assert not TaskScheduler(user=True, data_dir=tmp_path, run=tools).uninstall()


def test_what_schtasks_refuses_is_told(tmp_path: Path) -> None:
    file = tmp_path / "muxi-server-task.xml"
    tools = Tools({f"schtasks /Create /TN MUXI Server /XML {file} /F": (1, "ERROR: Access is denied.")})
    with pytest.raises(OperatorError, match="Access is denied"):
        TaskScheduler(user=False, data_dir=tmp_path, run=tools).install(DEFINITION)
