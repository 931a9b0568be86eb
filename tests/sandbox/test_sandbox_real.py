"""What a sandbox does to a process, and what it leaves as it is for whoever keeps it: for real."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.process import procfs, tree
from muxi.process.adopted import adopt
from muxi.process.identity import still_ours
from muxi.process.probe import check
from muxi.process.spawn import spawn
from muxi.process.usage import Root, Walk
from muxi.sandbox.demand import Level
from tests.sandbox.conftest import eventually

if TYPE_CHECKING:
    from muxi.process.handle import Handle
    from muxi.process.spec import ProcessSpec
    from muxi.sandbox.sandbox import Sandbox
    from tests.sandbox.conftest import Home, Operator

READ_ONLY, REFUSED, HIDDEN = "Read-only file system", "Operation not permitted", "No such file or directory"


def confined(sandbox: Sandbox, home: Home, spec: ProcessSpec) -> ProcessSpec:
    return sandbox.confine(sandbox.choose(None), spec, home.release, home.state)


async def start(sandbox: Sandbox, home: Home, port: int, **env: str) -> tuple[Handle, ProcessSpec]:
    """Start one, and wait until it has looked round and listens."""
    spec = confined(sandbox, home, home.spec(port, **env))
    handle = await spawn(spec)
    with trio.fail_after(30):
        await eventually(lambda: (home.state / "found").exists() or not procfs.is_alive(handle.pid))
        assert procfs.is_alive(handle.pid), home.said()
        while not (await check("127.0.0.1", port, ("/",), 5.0)).healthy:  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.01)
    return handle, spec


def found(home: Home) -> dict[str, object]:
    read: dict[str, object] = json.loads((home.state / "found").read_text())
    return read


async def test_what_it_sees_and_may_do(sandbox: Sandbox, home: Home, port: int) -> None:
    handle, spec = await start(sandbox, home, port)
    seen = found(home)
    assert {name: seen[name] for name in ("release", "system", "root")} == dict.fromkeys(
        ("release", "system", "root"), READ_ONLY
    )
    assert {name: seen[name] for name in ("state", "link", "tmp", "shm")} == dict.fromkeys(
        ("state", "link", "tmp", "shm"), "written"
    )
    assert (home.state / "memory.db").read_text() == "x"
    assert seen["others"] == HIDDEN
    assert seen["shadow"] in {"b''", HIDDEN, "Permission denied"}
    with trio.fail_after(30):
        await handle.end(expected=True)
    assert spec.scratch is not None
    assert not spec.scratch.exists()


async def test_it_is_alone_and_gets_no_privileges(sandbox: Sandbox, home: Home, port: int) -> None:
    handle, _ = await start(sandbox, home, port)
    seen = found(home)
    assert seen["processes"] == [1, seen["pid"]]
    status = seen["no new privileges"]
    assert isinstance(status, list)
    capabilities, privileges, filtered = map(str, status)
    assert (int(capabilities, 16), privileges) == (0, "1")
    if sandbox.status.filter_file is None:
        pytest.skip("no filter of system calls could be set here")
    assert filtered == "2"
    assert {name: seen[name] for name in ("unshare", "mount", "ptrace")} == dict.fromkeys(
        ("unshare", "mount", "ptrace"), REFUSED
    )
    with trio.fail_after(30):
        await handle.end(expected=True)


async def test_its_temporary_files_are_its_own_and_of_this_run(
    sandbox: Sandbox, home: Home, port: int
) -> None:
    for _ in range(2):
        (home.state / "found").unlink(missing_ok=True)
        handle, spec = await start(sandbox, home, port)
        assert found(home)["tmp before"] == []
        assert spec.scratch is not None
        assert (spec.scratch / "earlier").exists()
        # As if the server had been killed: nobody has cleared away.
        os.killpg(handle.pid, signal.SIGKILL)
        with trio.fail_after(30):
            await handle.wait()
            handle.let_go()
            await trio.to_thread.run_sync(os.waitpid, handle.pid, 0)
            await tree.dismiss(None, handle.identity.token_sha256, signal.SIGKILL)  # type: ignore[union-attr]


async def test_it_ends_in_good_order_when_told_to(sandbox: Sandbox, home: Home, port: int) -> None:
    handle, _ = await start(sandbox, home, port)
    with trio.fail_after(30):
        await handle.ask_to_end()
        assert (home.state / "ended").read_text() == "in good order"
        report = await handle.end(expected=True)
    assert report.clean


async def test_one_that_ignores_term_is_killed_with_all_in_it(sandbox: Sandbox, home: Home) -> None:
    (home.release / "stubborn.py").write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0: os.setsid()\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    spec = confined(sandbox, home, home.spec(1, "stubborn.py"))
    handle = await spawn(spec)
    await eventually(lambda: spec.stdout.read_text().count("up") == 2)
    assert handle.identity is not None
    inside = tree.living(handle.pid, handle.identity.token_sha256)
    assert len(inside) == 4  # bubblewrap outside, its init, and two of ours
    with trio.move_on_after(0.2):
        await handle.ask_to_end()
    with trio.fail_after(30):
        await handle.end(expected=True)
    assert not any(procfs.is_alive(pid) for pid in inside)


@pytest.mark.parametrize(("path", "status"), [("/die?7", 7), ("/die?0", 0), ("/kill", 128 + signal.SIGKILL)])
async def test_its_exit_status_is_kept(
    sandbox: Sandbox, home: Home, port: int, path: str, status: int
) -> None:
    handle, _ = await start(sandbox, home, port)
    await check("127.0.0.1", port, (path,), 5.0)
    with trio.fail_after(30):
        await handle.wait()
        report = await handle.end(expected=False)
    assert report.status == status


async def test_a_later_server_proves_it_and_goes_on_with_it(sandbox: Sandbox, home: Home, port: int) -> None:
    handle, spec = await start(sandbox, home, port)
    identity = handle.identity
    assert identity is not None
    handle.let_go()
    assert still_ours(identity)
    later = adopt(identity, handle.started_at, spec)
    assert later is not None
    assert await later.listens("127.0.0.1", port) is True
    usage = Walk().measure([Root(later.pid, identity.token_sha256)], 0.0)[later.pid]
    assert usage.processes == 3
    assert usage.memory > 5 << 20
    with trio.fail_after(30):
        await later.ask_to_end()
        assert (home.state / "ended").exists()
        await later.end(expected=True)
    assert spec.scratch is not None
    assert not spec.scratch.exists()


async def test_what_the_operator_lets_it_read(
    sandbox: Sandbox, home: Home, operator: Operator, port: int
) -> None:
    models = home.data.parent / "models"
    models.mkdir()
    (models / "weights").write_text("weights")
    operator.sandbox_paths = (str(models),)
    handle, _ = await start(sandbox, home, port, SECRET_FILE=str(models / "weights"))
    assert found(home)["others"] == "weights"
    with trio.fail_after(30):
        await handle.end(expected=True)


async def test_what_is_the_servers_stays_hidden_whatever_is_shown_around_it(
    sandbox: Sandbox, home: Home, operator: Operator, port: int
) -> None:
    operator.sandbox_paths = (str(home.data.parent),)
    handle, _ = await start(sandbox, home, port)
    seen = found(home)
    assert (seen["others"], seen["release"], seen["state"]) == (HIDDEN, READ_ONLY, "written")
    with trio.fail_after(30):
        await handle.end(expected=True)


async def test_without_bubblewrap_it_gets_no_new_privileges_at_least(sandbox: Sandbox, home: Home) -> None:
    if not sandbox.status.setpriv:
        pytest.skip("there is no setpriv here")
    (home.release / "status.py").write_text("print(open('/proc/self/status').read())")
    plain = home.spec(1, "status.py")
    spec = sandbox.confine(Level.NO_NEW_PRIVILEGES, plain, home.release, home.state)
    handle = await spawn(spec)
    with trio.fail_after(30):
        await handle.wait()
        await handle.end(expected=False)
    assert "NoNewPrivs:\t1" in spec.stdout.read_text()
