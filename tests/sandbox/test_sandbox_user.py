"""Processes of another user: for real, as root."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.errors import OperatorError
from muxi.process import procfs
from muxi.process.spawn import spawn
from muxi.process.user import hand_over
from muxi.sandbox.account import find_user
from muxi.sandbox.demand import Level
from muxi.sandbox.sandbox import Sandbox
from tests.sandbox.conftest import Home, Operator, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muxi.process.spec import ProcessSpec

NOBODY = "nobody"
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin")

WHO = """
import os, pathlib, sys, time
def attempt(action):
    try:
        return str(action())
    except OSError as error:
        return error.strerror
state = pathlib.Path(os.environ["HOME"])
print(os.getuid(), os.getgid(), 0 in os.getgroups(), sep="|")
print(attempt(lambda: pathlib.Path("secret.key").read_text()))
print(attempt(lambda: pathlib.Path("new").write_text("x")))
print(attempt(lambda: (state / "old.db").write_text("mine")))
print(attempt(lambda: pathlib.Path(os.environ["SECRET_FILE"]).read_text()), flush=True)
time.sleep(600)
"""


@pytest.fixture
def house() -> Iterator[Home]:
    """Make a data directory that others can get to, with a release and a state in it, all private."""
    if os.geteuid() != 0 or SYSTEM_PYTHON is None:
        pytest.skip("only root can start processes of others, and they need a python3 of the system")
    data = Path(tempfile.mkdtemp())
    formation = data / "formations" / "agent"
    made = Home(data, formation / "releases" / "1", formation / "state", data / "key")
    for directory in (made.release, made.state):
        directory.mkdir(parents=True)
    for parent in (data / "formations", formation, formation / "releases", made.release, made.state):
        parent.chmod(0o700)
    (made.release / "app.py").write_text(WHO)
    for file, content in (
        (made.release / "secret.key", "key"),
        (made.state / "old.db", "old"),
        (made.secret, "no"),
    ):
        file.write_text(content)
        file.chmod(0o600)
    yield made
    shutil.rmtree(data)


def sandbox_of(house: Home, operator: Operator) -> Sandbox:
    return Sandbox(
        lambda: operator,
        directory=house.data / "sandbox",
        private=(house.data,),
        search_path=os.environ["PATH"],
    )


def spec_of(house: Home) -> ProcessSpec:
    assert SYSTEM_PYTHON is not None
    plain = house.spec(1, "app.py")
    return replace(plain, argv=(SYSTEM_PYTHON, "-I", "-S", "app.py"))


@pytest.mark.parametrize("mode", ["off", "required"])
async def test_it_runs_as_that_user_and_has_what_it_needs_and_no_more(house: Home, mode: str) -> None:
    sandbox = sandbox_of(house, Operator(sandbox=mode, user=NOBODY))
    await sandbox.look()
    if mode == "required" and not sandbox.status.program:
        pytest.skip(f"that user can make no sandbox here: {sandbox.status.problem}")
    spec = sandbox.confine(sandbox.choose(None), spec_of(house), house.release, house.state)
    handle = await spawn(spec)
    await eventually(lambda: spec.stdout.read_text().count("\n") == 5 or not procfs.is_alive(handle.pid))
    assert procfs.is_alive(handle.pid), spec.stderr.read_text()
    who, key, beside, database, secret = spec.stdout.read_text().splitlines()
    assert who.split("|")[0] != "0"
    assert who.split("|")[2] == "False"
    assert (key, database) == ("key", "4")
    assert beside == ("Permission denied" if mode == "off" else "Read-only file system")
    assert secret == ("Permission denied" if mode == "off" else "No such file or directory")
    assert handle.identity is not None
    assert procfs.token_sha256(handle.pid) == handle.identity.token_sha256
    with trio.fail_after(30):
        await handle.end(expected=True)
    assert spec.scratch is None or not spec.scratch.exists()
    assert stat.S_IMODE(house.secret.stat().st_mode) == 0o600


async def test_a_second_start_changes_nothing_of_the_release(house: Home) -> None:
    sandbox = sandbox_of(house, Operator(sandbox="off", user=NOBODY))
    user = sandbox.confine(Level.NONE, spec_of(house), house.release, house.state).user
    assert user is not None
    hand_over(user)
    key = house.release / "secret.key"
    assert (key.stat().st_uid, stat.S_IMODE(key.stat().st_mode)) == (0, 0o640)
    key.chmod(0o600)
    hand_over(user)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_links_and_second_names_are_not_followed_out_of_the_tree(house: Home) -> None:
    (house.state / "link").symlink_to(house.secret)
    os.link(house.secret, house.state / "second-name")
    user = find_user(NOBODY, house.data)
    assert user is not None
    hand_over(replace(user, owns=(house.state,)))
    assert house.secret.stat().st_uid == 0
    assert (house.state / "old.db").stat().st_uid == user.uid
    assert (house.state / "link").lstat().st_uid == user.uid


def test_one_that_cannot_get_there_is_told_what_is_in_the_way(house: Home) -> None:
    user = find_user(NOBODY, house.data / "formations" / "agent")
    assert user is not None
    with pytest.raises(OperatorError, match="is closed to others") as caught:
        hand_over(user)
    assert caught.value.code == "UserError"


def test_who_is_nobody_in_particular(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_user("", tmp_path) is None
    with pytest.raises(OperatorError, match="there is no such user"):
        find_user("no-such-user", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(OperatorError, match="this server is not root"):
        find_user(NOBODY, tmp_path)
