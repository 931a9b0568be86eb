"""The unit, as systemd itself reads it, and what `systemctl` is told, as a record."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.errors import OperatorError
from muxi.service.definition import Definition
from muxi.service.systemd import HAS_SUBGROUPS, MARK, UNIT, Systemd, in_container, quoted, unit
from tests.service.tools import Tools

if TYPE_CHECKING:
    from collections.abc import Mapping

GOLDEN = Path(__file__).parent / "golden"
PLAIN = Definition(
    command=("/usr/bin/muxi-server",),
    stop_seconds=90,
    log_dir=Path("/var/log/muxi"),
    user="root",
    writes=(Path("/etc/muxi/server"), Path("/var/lib/muxi"), Path("/var/log/muxi")),
)
ODD = Definition(
    command=("/opt/my tools/50% off/muxi-server", "-m", "$x", 'a "b" \\c'),
    stop_seconds=45,
    log_dir=Path("/home/me/.muxi/server/logs"),
    environment={"MUXI_DATA_DIR": "/srv/50% $full"},
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    return tmp_path


def verify(text: str, directory: Path, *options: str) -> tuple[int, str]:
    """Have systemd read a unit; return its verdict, and its complaints."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here (Debian: systemd)")
    (directory / UNIT).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", *options, "verify", "--man=no", "--recursive-errors=no", directory / UNIT],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(directory)},
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def here(definition: Definition) -> Definition:
    """Let the command be a program that exists, for systemd looks for it."""
    return Definition(
        command=("/bin/true", *definition.command[1:]),
        stop_seconds=definition.stop_seconds,
        log_dir=definition.log_dir,
        user=definition.user,
        environment=definition.environment,
        writes=definition.writes,
    )


@pytest.mark.parametrize("definition", [PLAIN, ODD], ids=["plain", "odd"])
@pytest.mark.parametrize("user_manager", [False, True], ids=["system", "user"])
def test_systemd_has_nothing_against_the_unit(
    definition: Definition, user_manager: bool, tmp_path: Path
) -> None:
    text = unit(here(definition), version=HAS_SUBGROUPS - 1, user_manager=user_manager)
    status, complaints = verify(text, tmp_path, *(["--user"] if user_manager else []))
    assert [line for line in complaints.splitlines() if UNIT in line] == []
    assert status == 0, complaints


def test_systemd_complains_of_a_wrong_unit(tmp_path: Path) -> None:
    text = unit(here(PLAIN), version=252, user_manager=False).replace("KillMode=process", "KillMode=gently")
    status, complaints = verify(text, tmp_path)
    assert status != 0
    assert "kill mode" in complaints


@pytest.mark.parametrize(
    ("name", "definition", "version", "user_manager"),
    [
        ("system.service", PLAIN, 252, False),
        ("system-254.service", PLAIN, 254, False),
        ("user.service", ODD, 255, True),
    ],
)
def test_the_unit_is_as_it_was(name: str, definition: Definition, version: int, user_manager: bool) -> None:
    assert unit(definition, version=version, user_manager=user_manager) == (GOLDEN / name).read_text()


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/usr/bin/muxi-server", "/usr/bin/muxi-server"),
        ("/a b", '"/a b"'),
        ("50%", "50%%"),
        ("$HOME", '"$$HOME"'),
        ('a"b\\', '"a\\"b\\\\"'),
    ],
)
def test_words_are_quoted(word: str, written: str) -> None:
    assert quoted(word, expanded=True) == written


def test_what_is_no_argument_has_no_variables_in_it() -> None:
    assert quoted("A=$b") == '"A=$b"'


def test_an_install_enables_and_starts_it(root: Path) -> None:
    tools = Tools({"systemctl --version": "systemd 252 (252.39)\n"})
    manager = Systemd(user=False, home=root, run=tools, root=root)
    assert manager.install(PLAIN) == []
    assert tools.ran == [
        "systemctl --version",
        "systemctl daemon-reload",
        f"systemctl enable {UNIT}",
        f"systemctl restart {UNIT}",
    ]
    assert manager.file == root / "etc/systemd/system" / UNIT
    assert manager.file.read_text() == (GOLDEN / "system.service").read_text()
    assert manager.file.stat().st_mode & 0o777 == 0o644


def test_a_users_own_is_his_managers(root: Path) -> None:
    tools = Tools({})
    manager = Systemd(user=True, home=root / "home", run=tools, root=root)
    [remark] = manager.install(PLAIN)
    assert "enable-linger" in remark
    assert manager.file == root / "home/.config/systemd/user" / UNIT
    assert tools.ran[1:] == [
        "systemctl --user daemon-reload",
        f"systemctl --user enable {UNIT}",
        f"systemctl --user restart {UNIT}",
    ]
    assert "User=" not in manager.file.read_text()


def test_a_unit_of_somebody_else_is_kept(root: Path) -> None:
    manager = Systemd(user=False, home=root, run=Tools({}), root=root)
    manager.file.parent.mkdir(parents=True)
    manager.file.write_text("[Service]\nExecStart=/mine\n")
    [remark] = manager.install(PLAIN)
    kept = root / "etc/systemd/system" / f"{UNIT}.replaced"
    assert str(kept) in remark
    assert kept.read_text() == "[Service]\nExecStart=/mine\n"
    assert manager.install(PLAIN) == []
    assert manager.file.read_text().startswith(MARK)


def test_what_systemctl_refuses_is_told(root: Path) -> None:
    tools = Tools({f"systemctl restart {UNIT}": (1, "Job for muxi-server.service failed")})
    with pytest.raises(OperatorError, match=r"restart muxi-server\.service failed: Job for") as caught:
        Systemd(user=False, home=root, run=tools, root=root).install(PLAIN)
    assert "Traceback" not in caught.value.message


def test_without_systemd_nothing_is_written(tmp_path: Path) -> None:
    tools = Tools({})
    manager = Systemd(user=False, home=tmp_path, run=tools, root=tmp_path)
    with pytest.raises(OperatorError, match="does not run here"):
        manager.install(PLAIN)
    assert tools.ran == []
    assert not manager.file.exists()
    assert manager.condition().detail == "systemd does not run here"
    assert not manager.uninstall()


def test_an_uninstall_ends_and_forgets_it(root: Path) -> None:
    tools = Tools({})
    manager = Systemd(user=False, home=root, run=tools, root=root)
    assert not manager.uninstall()
    manager.install(PLAIN)
    tools.ran.clear()
    assert manager.uninstall()
    assert tools.ran == [f"systemctl disable --now {UNIT}", "systemctl daemon-reload"]
    assert not manager.file.exists()


RUNNING: dict[str, tuple[Mapping[str, str], tuple[bool, bool], str]] = {
    "runs": (
        {
            "ActiveState": "active",
            "SubState": "running",
            "UnitFileState": "enabled",
            "MainPID": "42",
            "StatusText": "Serving on http://localhost:7890",
        },
        (True, True),
        "active (running, pid 42) Serving on http://localhost:7890",
    ),
    "stopped": (
        {"ActiveState": "inactive", "SubState": "dead", "UnitFileState": "disabled", "MainPID": "0"},
        (False, False),
        "inactive (dead)",
    ),
    "nothing said": ({}, (False, False), ""),
}


@pytest.mark.parametrize("case", RUNNING)
def test_how_it_stands(case: str, root: Path) -> None:
    facts, (running, enabled), detail = RUNNING[case]
    names = "ActiveState,SubState,UnitFileState,MainPID,StatusText"
    text = "".join(f"{name}={value}\n" for name, value in facts.items())
    tools = Tools({f"systemctl show {UNIT} --property {names}": text})
    found = Systemd(user=False, home=root, run=tools, root=root).condition()
    assert (found.running, found.starts_with_machine, found.detail) == (running, enabled, detail)
    assert not found.installed


def test_what_a_container_is(tmp_path: Path) -> None:
    assert not in_container({}, tmp_path)
    assert in_container({"container": "podman"}, tmp_path)
    (tmp_path / ".dockerenv").touch()
    assert in_container({}, tmp_path)
