from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.process import procfs
from muxi.process.identity import Identity, identify, still_ours, stop_leftover, stop_marked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

TOKEN = "0123456789abcdef" * 2
APPS = Path(__file__).parent / "apps"


@pytest.fixture
def leftover(tmp_path: Path) -> Iterator[Callable[[str], Identity]]:
    """Start Python code that is not our child, as a server's child is after its server has died."""
    started: list[Identity] = []

    def start(code: str) -> Identity:
        code = f"import pathlib; pathlib.Path('up').write_text(''); {code}"
        middleman = (
            "import subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-I', '-S', '-c', sys.argv[1]],"
            " start_new_session=True, stdout=subprocess.DEVNULL)\n"
            "child.returncode = 0\n"
            "print(child.pid)\n"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", middleman, code],
            env={procfs.TOKEN_VARIABLE: TOKEN},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            check=True,
        )
        identity = identify(int(done.stdout), TOKEN)
        assert identity is not None
        started.append(identity)
        return identity

    yield start
    for identity in started:
        if still_ours(identity):
            os.kill(identity.pid, signal.SIGKILL)


async def test_it_survives_being_stored_and_holds_no_token(leftover: Callable[[str], Identity]) -> None:
    identity = leftover("import time; time.sleep(600)")
    stored = json.dumps(identity.to_json())
    assert TOKEN not in stored + repr(identity)
    assert Identity.from_json(json.loads(stored)) == identity


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"pid": 5},
        {"pid": "5", "start_ticks": 1, "boot_id": "x", "token_sha256": "y"},
        {"pid": 1, "start_ticks": 1, "boot_id": "x", "token_sha256": "y"},
        {"pid": -7, "start_ticks": 1, "boot_id": "x", "token_sha256": "y"},
    ],
)
def test_anything_else_is_no_identity(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="identity"):
        Identity.from_json(data)


async def test_only_the_very_process_is_ours(
    leftover: Callable[[str], Identity], eventually: Eventually
) -> None:
    identity = leftover("import time; time.sleep(600)")
    await eventually(lambda: still_ours(identity))
    other_hash = procfs.hash_token(b"another")
    assert not still_ours(replace(identity, start_ticks=identity.start_ticks + 1))
    assert not still_ours(replace(identity, boot_id="another boot"))
    assert not still_ours(replace(identity, token_sha256=other_hash))
    assert not still_ours(replace(identity, pid=1))
    with trio.fail_after(30):
        assert await stop_leftover(identity, 20.0)
    assert not still_ours(identity)


async def test_leftover_that_ignores_term_is_killed_with_its_descendants(
    leftover: Callable[[str], Identity],
    tmp_path: Path,
    eventually: Eventually,
    is_alive: Callable[[int], bool],
) -> None:
    family, file = APPS / "family.py", tmp_path / "grandchild"
    identity = leftover(
        "import signal, sys, runpy; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"sys.argv[1:] = [{str(file)!r}, 'session', 'stay']; runpy.run_path({str(family)!r})"
    )
    await eventually(file.exists)
    with trio.fail_after(30):
        assert await stop_leftover(identity, 0.2)
    assert not is_alive(int(file.read_text()))
    assert not is_alive(identity.pid)


async def test_orphans_of_a_leftover_that_is_gone_are_found(
    leftover: Callable[[str], Identity],
    tmp_path: Path,
    eventually: Eventually,
    is_alive: Callable[[int], bool],
) -> None:
    family, file = APPS / "family.py", tmp_path / "grandchild"
    identity = leftover(
        f"import sys, runpy; sys.argv[1:] = [{str(file)!r}, 'session', 'leave'];"
        f"runpy.run_path({str(family)!r})"
    )
    await eventually(lambda: file.exists() and not is_alive(identity.pid))
    with trio.fail_after(30):
        assert await stop_leftover(identity, 0.2)
    assert not is_alive(int(file.read_text()))


async def test_what_is_known_by_its_token_alone_is_ended_and_nothing_else(
    leftover: Callable[[str], Identity], is_alive: Callable[[int], bool]
) -> None:
    stubborn = leftover("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")
    with trio.fail_after(30):
        assert await stop_marked("0" * 64, 0.2)
        assert is_alive(stubborn.pid)
        assert await stop_marked(stubborn.token_sha256, 0.2)
    assert not is_alive(stubborn.pid)


@pytest.mark.parametrize(
    "change",
    [{"start_ticks": 1, "token_sha256": "0" * 64}, {"boot_id": "another boot"}, {"token_sha256": "0" * 64}],
)
async def test_a_reused_pid_is_never_signalled(
    leftover: Callable[[str], Identity],
    eventually: Eventually,
    is_alive: Callable[[int], bool],
    change: dict[str, object],
) -> None:
    stranger = leftover("import time; time.sleep(600)")
    await eventually(lambda: still_ours(stranger))
    with trio.fail_after(30):
        assert await stop_leftover(replace(stranger, **change), 0.2)  # type: ignore[arg-type]
    assert is_alive(stranger.pid)


async def test_nothing_can_be_proved_without_proc(
    leftover: Callable[[str], Identity],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    is_alive: Callable[[int], bool],
) -> None:
    identity = leftover("import time; time.sleep(600)")
    with monkeypatch.context() as patch:
        patch.setattr(procfs, "PROC", tmp_path / "no-proc")
        assert identify(identity.pid, TOKEN) is None
        assert not still_ours(identity)
        assert not await stop_leftover(identity, 0.1)
    assert is_alive(identity.pid)
