from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from muxi.runtime import host_tools
from muxi.runtime.host_tools import HostTools, arrange, parse

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_shells_answer_is_read_among_what_profiles_print() -> None:
    said = (
        "Welcome!\nmuxi-tool\tnode\t/home/a/.nvm/bin/node\nmuxi-tool\tgit\t\n"
        "muxi-tool\tcc\talias cc='x'\nmuxi-tool\tevil\t/bin/evil\nmuxi-tool\n"
    )
    assert parse(said) == {"node": "/home/a/.nvm/bin/node"}


def test_what_is_found_is_mounted_read_only_from_where_links_lead(tmp_path: Path) -> None:
    real = program(tmp_path / "versions" / "jq-1.7")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "jq").symlink_to(real)
    found = arrange({}, str(tmp_path / "bin"), tmp_path / "wrappers")
    assert found.path_first == "/opt/muxi-tools/bin"
    tools = {mount.target: mount for mount in found.mounts if mount.target.startswith("/opt/muxi-tools/bin/")}
    assert {target: mount.source for target, mount in tools.items()} == {"/opt/muxi-tools/bin/jq": real}
    assert not any(mount.writable for mount in found.mounts)
    targets = {mount.target for mount in found.mounts}
    assert set(found.env.values()) <= targets
    assert len(targets) == len(found.mounts)


def test_where_nothing_is_found_nothing_is_added(tmp_path: Path) -> None:
    found = arrange({}, str(tmp_path), tmp_path / "wrappers")
    assert (found.mounts, found.env, found.path_first) == ((), {}, "")


def test_npm_is_started_by_a_wrapper_that_nobody_else_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = tmp_path / "node_modules"
    (modules / "npm").mkdir(parents=True)
    monkeypatch.setattr(host_tools, "_MODULES", (str(modules),))
    for name in ("node", "npx"):
        program(tmp_path / "bin" / name)
    (tmp_path / "wrappers").mkdir(mode=0o777)
    found = arrange({}, str(tmp_path / "bin"), tmp_path / "wrappers")
    sources = {mount.target: mount.source for mount in found.mounts}
    wrapper = sources["/opt/muxi-tools/bin/npx"]
    assert wrapper == tmp_path / "wrappers" / "npx"
    assert wrapper.read_text().splitlines()[1] == (
        'exec /opt/muxi-tools/bin/node /opt/muxi-tools/lib/node_modules/npm/bin/npx-cli.js "$@"'
    )
    assert (tmp_path / "wrappers").stat().st_mode & 0o777 == 0o700
    assert sources["/opt/muxi-tools/lib/node_modules"] == modules
    assert found.env["NODE_PATH"] == "/opt/muxi-tools/lib/node_modules"


async def test_one_login_shell_is_asked_however_many_want_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = program(tmp_path / "bin" / "bash")
    asked.write_text(f'#!/bin/sh\necho asked >> {tmp_path}/asked\nprintf "muxi-tool\\tjq\\t/bin/sh\\n"\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    tools = HostTools(tmp_path / "wrappers", str(tmp_path / "nowhere"))
    found: list[object] = []

    async def ask() -> None:
        found.append(await tools.find())

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
    assert (tmp_path / "asked").read_text() == "asked\n"
    assert len(found) == 5
    assert all(one is found[0] for one in found)


async def test_who_gives_up_leaves_the_looking_to_the_next(tmp_path: Path) -> None:
    tools = HostTools(tmp_path / "wrappers", str(tmp_path / "nowhere"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await tools.find()
    with trio.fail_after(30):
        assert await tools.find() is await tools.find()


async def test_a_profile_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "bash").write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(host_tools, "TIMEOUT", 0.2)
    real = program(tmp_path / "tools" / "jq")
    with trio.fail_after(30):
        found = await HostTools(tmp_path / "wrappers", str(real.parent)).find()
    assert found.mounts[0].source == real
