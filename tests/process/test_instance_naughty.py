"""Instances of programs that behave as badly as programs do, with real processes and sockets."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.errors import FormationFailed
from muxi.process.adopted import adopt
from muxi.process.health import Liveness
from muxi.process.identity import still_ours
from muxi.process.means import Means
from muxi.process.pulse import Activity
from muxi.process.spawn import spawn
from tests.process.conftest import QUICK, alive
from tests.process.test_instance import Kept, get, kept

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from muxi.process.handle import Handle
    from muxi.process.instance import Instance
    from muxi.process.spec import ProcessSpec
    from tests.process.conftest import MakeSpec

    Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

IMPATIENT = replace(
    QUICK,
    readiness=replace(QUICK.readiness, timeout=0.2, threshold=1000),
    liveness=Liveness(threshold=2, grace=0.5),
)


@pytest.mark.parametrize("busy", [False, True])
async def test_a_hung_one_is_restarted_and_its_reason_told(
    make_spec: MakeSpec, tmp_path: Path, busy: bool
) -> None:
    spec = make_spec("naughty.py", "hang", str(tmp_path), health=IMPATIENT)
    instance = Kept(spec, means=Means(activity=lambda: Activity(busy=busy)))
    async with kept(instance), trio.open_nursery() as nursery:
        await instance.wait_healthy()
        pid = instance.pid
        nursery.start_soon(_ask_in_vain, instance)
        await instance.reach("crashed")
        assert (instance.reason or "").startswith("Formation hung: no answer for ")
        await instance.reach("running")
        assert pid is not None
        assert not alive(pid)
        assert instance.restart_count == 1
        nursery.cancel_scope.cancel()


async def _ask_in_vain(instance: Instance) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", instance.spec.port)
    async with stream:
        await stream.send_all(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.receive_some()


async def test_one_that_daemonises_is_its_own_and_ends_with_it(
    make_spec: MakeSpec, tmp_path: Path, eventually: Eventually
) -> None:
    spec = make_spec("naughty.py", "daemon", str(tmp_path), stop_timeout=0.2)
    instance = Kept(spec)
    async with kept(instance):
        await instance.wait_healthy()
        assert (await get(instance, "/")).status_code == 200
        daemon = int((tmp_path / "daemon").read_text())
        assert daemon != instance.pid
    assert not alive(daemon)
    assert instance.port_free


async def test_an_answer_of_a_stranger_is_not_its_health(make_spec: MakeSpec, tmp_path: Path) -> None:
    """The port is taken after it was seen to be free, and before the process listens: by us, here."""
    with ExitStack() as stack:

        async def launch(spec: ProcessSpec) -> Handle:
            stack.enter_context(_answering(spec.port))
            return await spawn(spec)

        instance = Kept(make_spec("naughty.py", "steal", str(tmp_path)), means=Means(launch=launch))
        with trio.fail_after(60):
            await instance.run(restart_on_failed_start=False)
        with pytest.raises(FormationFailed, match="in use by another program"):
            await instance.wait_healthy()
        assert instance.last_probe == (True, "GET /v1/health: 200", True)
        assert "running" not in instance.states


@contextmanager
def _answering(port: int) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


async def test_one_whose_port_was_stolen_moves_to_another(
    make_spec: MakeSpec, tmp_path: Path, other_port: int
) -> None:
    spec = make_spec("agent.py")
    with socket.socket() as thief:

        async def launch(spec: ProcessSpec) -> Handle:
            if spec.port != other_port:
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                thief.bind((spec.host, spec.port))
                thief.listen()
            return await spawn(spec)

        def relocate(spec: ProcessSpec) -> ProcessSpec:
            return replace(spec, port=other_port, env={**spec.env, "PORT": str(other_port)})

        instance = Kept(spec, means=Means(launch=launch, relocate=relocate))
        async with kept(instance):
            await instance.wait_healthy()
            assert instance.spec.port == other_port
            assert instance.states == ["starting", "starting", "starting", "running"]
            assert instance.restart_count == 0


async def test_without_another_port_a_stolen_one_fails_the_start(make_spec: MakeSpec) -> None:
    spec = make_spec("agent.py")
    with socket.socket() as thief:

        async def launch(spec: ProcessSpec) -> Handle:
            thief.bind((spec.host, spec.port))
            thief.listen()
            return await spawn(spec)

        instance = Kept(spec, means=Means(launch=launch))
        with trio.fail_after(60):
            await instance.run(restart_on_failed_start=False)
        with pytest.raises(FormationFailed, match=r"exit status 1: OSError.*in use"):
            await instance.wait_healthy()


async def test_detached_ones_live_on_and_are_adopted(make_spec: MakeSpec) -> None:
    """As over an exec of the server: the process stays our child, and how it ends is known."""
    spec = make_spec("agent.py")
    first, second = Kept(spec), Kept(spec)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(first.run, restart_on_failed_start=False))
            await first.wait_healthy()
            await first.detach()
        identity, started_at = first.identity, first.started_at
        assert identity is not None
        assert started_at is not None
        assert still_ours(identity)
        handle = adopt(identity, started_at, spec)
        assert handle is not None
        assert await handle.listens(spec.host, spec.port) is True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(second.run, restart_on_failed_start=True, adopt=handle))
            await second.wait_healthy()
            assert (second.pid, second.adopted) == (first.pid, True)
            await tell_to_die(second)
            await second.reach("crashed")
            assert second.last_exit is not None
            assert second.last_exit.status == 7
            await second.reach("running")
            assert not second.adopted
            await second.stop()


async def tell_to_die(instance: Instance) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", instance.spec.port)
    async with stream:
        await stream.send_all(b"GET /die?7 HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.receive_some()
