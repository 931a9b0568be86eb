from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.errors import OperatorError
from muxi.process import child as child_module
from muxi.process import exits, tree
from muxi.process.spawn import spawn
from tests.process.conftest import alive, children

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.process.conftest import MakeSpec

    Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP


async def test_term_ends_it_and_that_is_clean(make_spec: MakeSpec, eventually: Eventually) -> None:
    spec = make_spec(SLEEP)
    child = await spawn(spec)
    await eventually(lambda: "up" in spec.stdout.read_text())
    with trio.fail_after(30):
        await child.ask_to_end()
        report = await child.end(expected=True)
    assert (report.signal_number, report.clean) == (signal.SIGTERM, True)
    assert await child.end(expected=True) is report  # a second time is no second reaping


async def test_one_that_ignores_term_is_killed(make_spec: MakeSpec, eventually: Eventually) -> None:
    spec = make_spec(STUBBORN)
    child = await spawn(spec)
    await eventually(lambda: "up" in spec.stdout.read_text())
    with trio.move_on_after(0.2) as grace:
        await child.ask_to_end()
    assert grace.cancelled_caught
    with trio.fail_after(30):
        report = await child.end(expected=True)
    assert report.signal_number == signal.SIGKILL


@pytest.mark.parametrize("how", ["group", "session"])
@pytest.mark.parametrize("then", ["stay", "leave"])
async def test_grandchild_that_ignores_term_does_not_outlive_it(
    make_spec: MakeSpec,
    tmp_path: Path,
    eventually: Eventually,
    how: str,
    then: str,
) -> None:
    file = tmp_path / "grandchild"
    child = await spawn(make_spec("family.py", str(file), how, then))
    await eventually(file.exists)
    grandchild = int(file.read_text())
    assert alive(grandchild)
    if then == "leave":
        with trio.fail_after(30):
            await child.wait()
        assert alive(grandchild)
    else:
        with trio.move_on_after(0.2):
            await child.ask_to_end()
    with trio.fail_after(30):
        report = await child.end(expected=then == "stay")
    assert not alive(grandchild)
    assert report.status == (4 if then == "leave" else None)


async def test_grandchild_may_finish_after_its_parent_has_gone(
    make_spec: MakeSpec, tmp_path: Path, eventually: Eventually
) -> None:
    code = (
        "import os, signal, sys, time, pathlib\n"
        "done = pathlib.Path(sys.argv[1])\n"
        "def late(*_):\n"
        "    time.sleep(0.3); done.write_text('all data written'); os._exit(0)\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, late); print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    spec = make_spec(code, str(tmp_path / "done"))
    child = await spawn(spec)
    await eventually(lambda: "up" in spec.stdout.read_text())
    with trio.fail_after(30):
        await child.ask_to_end()
    assert (tmp_path / "done").read_text() == "all data written"
    await child.end(expected=True)


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_stray_without_group_and_token_is_known_by_its_parents(
    make_spec: MakeSpec, tmp_path: Path, eventually: Eventually, at_once: bool
) -> None:
    """It ignores TERM, while its parents do not: when it is killed, they have left it already."""
    child = await spawn(make_spec("disowned.py", str(tmp_path / "stray")))
    await eventually((tmp_path / "stray").exists)
    stray = int((tmp_path / "stray").read_text())
    if not at_once:
        with trio.move_on_after(0.3):
            await child.ask_to_end()
        assert alive(stray)
    with trio.fail_after(30):
        await child.end(expected=True)
    assert not alive(stray)


async def test_term_is_sent_once_to_each(make_spec: MakeSpec, tmp_path: Path, eventually: Eventually) -> None:
    """Many programs take a second one for an order to leave everything as it is."""
    code = (
        "import os, signal, sys, time\n"
        "def note(*_): os.write(1, b'TERM\\n')\n"
        "signal.signal(signal.SIGTERM, note)\n"
        "helper = os.fork()\n"
        "print('up', flush=True)\n"
        "end = time.monotonic() + 0.5\n"
        "while time.monotonic() < end: time.sleep(0.05)\n"
    )
    spec = make_spec(code)
    child = await spawn(spec)
    await eventually(lambda: spec.stdout.read_text().count("up") == 2)
    with trio.fail_after(30):
        await child.ask_to_end()
        await child.end(expected=True)
    assert spec.stdout.read_text().count("TERM") == 2


async def test_group_is_killed_before_the_leader_is_reaped(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the group's id could be another's by then."""
    order = []
    reap, signal_group = exits.reap, tree.signal_group

    def note_reap(pid: int, *, expected: bool) -> object:
        order.append("reap")
        return reap(pid, expected=expected)

    def note_signal(group: int, number: signal.Signals) -> None:
        order.append(number.name)
        signal_group(group, number)

    monkeypatch.setattr(exits, "reap", note_reap)
    monkeypatch.setattr(tree, "signal_group", note_signal)
    child = await spawn(make_spec("raise SystemExit(1)"))
    with trio.fail_after(30):
        await child.wait()
        await child.end(expected=False)
    assert order == ["SIGKILL", "reap"]


async def test_strangers_are_left_alone(make_spec: MakeSpec) -> None:
    one, other = await spawn(make_spec(SLEEP)), await spawn(make_spec(SLEEP))
    with trio.fail_after(30):
        await one.end(expected=True)
        assert alive(other.pid)
        await other.end(expected=True)


async def test_one_that_cannot_be_killed_is_reported(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = await spawn(make_spec(SLEEP))
    with monkeypatch.context() as patch:
        patch.setattr(tree, "signal_group", lambda *_: None)  # as if it hung in the kernel
        patch.setattr(tree.Family, "signal", lambda *_: None)
        patch.setattr(child_module, "KILL_TIMEOUT", 0.05)
        with pytest.raises(OperatorError, match=f"Process {child.pid} does not end") as caught:
            await child.end(expected=True)
        assert caught.value.cure
    with trio.fail_after(30):
        await child.end(expected=True)  # a later try may still succeed


async def test_fifty_lives_leave_no_descriptor(make_spec: MakeSpec, count_fds: Callable[[], int]) -> None:
    spec, before = make_spec(("/bin/sleep", "600")), children()
    counts = []
    with trio.fail_after(60):
        for _ in range(51):
            child = await spawn(spec)
            await child.ask_to_end()
            await child.end(expected=True)
            counts.append(count_fds())
    assert counts[-1] == counts[0]
    assert children() <= before  # no zombie either
