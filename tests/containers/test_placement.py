"""Containers from their start to their removal, against an engine that only speaks as one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxi.containers.container import LOST, Container, exit_report
from muxi.containers.leftovers import Leftovers
from muxi.containers.placement import ContainerPlacement
from muxi.containers.spec import ContainerSpec
from muxi.containers.wire import ContainerConfig, ContainerFacts, ContainerState
from muxi.errors import FormationFailed, InternalError, MuxiError, OperatorError
from muxi.process.limits import Limits
from muxi.process.procfs import hash_token
from muxi.process.spec import ProcessSpec
from muxi.registry.records import ProcessRecord
from tests.containers.standin import StandIn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOKEN = "t" * 32
HASH = hash_token(TOKEN.encode())


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[StandIn]:
    async with StandIn(tmp_path / "e.sock").serving() as standing_in:
        standing_in.add_image("agent:1", ExposedPorts={"8080/tcp": {}})
        yield standing_in


@pytest.fixture
def spec(tmp_path: Path) -> ContainerSpec:
    return ContainerSpec(
        process_id="hello",
        argv=(),
        cwd=tmp_path,
        host="127.0.0.1",
        port=8001,
        stdout=tmp_path / "logs" / "hello-out.log",
        stderr=tmp_path / "logs" / "hello-err.log",
        env={"A": "1"},
        token=TOKEN,
        image="agent:1",
        limits=Limits(memory=64 << 20, memory_soft=4 << 20),
    )


def placement(engine: StandIn, tmp_path: Path, server_id: str = "server-1") -> ContainerPlacement:
    leftovers = Leftovers(engine.engine, server_id, tmp_path / "containers")
    return ContainerPlacement(engine.engine, leftovers, lambda: 10.0)


@pytest.fixture
def place(engine: StandIn, tmp_path: Path) -> ContainerPlacement:
    return placement(engine, tmp_path)


def record(engine: StandIn, **changes: object) -> ProcessRecord:
    facts: dict[str, object] = {"token_sha256": HASH, "place": "docker", "container": engine.box.id}
    return ProcessRecord(**facts | changes)  # type: ignore[arg-type] # the names and types match


async def written(path: Path, text: str) -> None:
    with trio.fail_after(30):
        while _read(path) != text:  # noqa: ASYNC110 - files tell nobody
            await trio.sleep(0.01)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def test_a_container_is_made_started_and_known(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec
) -> None:
    handle = await place.start(spec)
    assert handle.container_id == engine.box.id
    assert (handle.pid, handle.adopted, handle.identity) == (4711, False, None)
    assert handle.started_at == pytest.approx(1795625345.5)
    assert engine.box.body["Labels"] == {
        "ai.muxi.server": "server-1", "ai.muxi.formation": "hello", "ai.muxi.token": HASH,
    }  # fmt: skip
    assert TOKEN not in str(engine.box.body)
    assert engine.box.name.startswith("muxi-hello-")
    assert await handle.listens("127.0.0.1", 8001) is True
    assert await handle.listens("127.0.0.1", 8002) is False
    assert await handle.cpu_seconds() == 1.5


async def test_its_output_is_copied_until_it_ends_and_then_it_is_removed(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec
) -> None:
    handle = await place.start(spec)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle.wait)
        engine.box.say("one")
        engine.box.say("oh no", stream=2)
        await written(spec.stdout, "one\n")
        await written(spec.stderr, "oh no\n")
        engine.box.say("last words")
        engine.box.exit(3)
    report = await handle.end(expected=False)
    assert report.describe() == "exit status 3"
    assert spec.stdout.read_text() == "one\nlast words\n"
    assert await handle.log_tail() == ["stdout: one", "stdout: last words", "stderr: oh no"]
    assert engine.boxes == {}
    assert await handle.end(expected=False) == report, "ending it again is no other end"


async def test_it_is_asked_by_its_own_signal_and_killed_when_it_does_not_heed(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec
) -> None:
    handle = await place.start(spec)
    box = engine.box
    box.stubborn = True
    with trio.move_on_after(0.1) as grace:
        await handle.ask_to_end()
    assert grace.cancelled_caught
    report = await handle.end(expected=True)
    assert box.signals == ["SIGQUIT", "SIGKILL"]
    assert report.describe() == "killed by SIGKILL"
    assert report.clean


@pytest.mark.parametrize(
    ("code", "oom", "words"),
    [
        (0, False, "exit status 0"),
        (143, False, "killed by SIGTERM"),
        (137, True, "ran out of memory (limit 64M)"),
        (1, True, "exit status 1"),  # a helper was killed, and it has lived on
        (255, False, "exit status 255"),
    ],
)
def test_how_a_container_ended_is_told_as_of_a_process(code: int, oom: bool, words: str) -> None:
    state = ContainerState(exit_code=code, o_o_m_killed=oom)
    facts = ContainerFacts(id="x", state=state, config=ContainerConfig())
    assert exit_report(facts, expected=False, memory_limit=64 << 20).describe() == words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Bind for 127.0.0.1:8001 failed: port is already allocated", "Port 8001 is in use"),
        ("listen tcp4 127.0.0.1:8001: bind: address already in use", "Port 8001 is in use"),
        ('exec: "nope": executable file not found in $PATH: unknown', "was not found in the image"),
        ("No command specified", "names no program"),
        ("invalid mount config: bind source path does not exist: /x", "does not see the formation's files"),
        ("something else", "something else"),
    ],
)  # fmt: skip
async def test_a_start_that_fails_is_explained_and_leaves_nothing(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec, said: str, words: str
) -> None:
    engine.fail["POST start"] = (500, said)
    with pytest.raises(MuxiError, match=words):
        await place.start(spec)
    assert engine.boxes == {}
    assert list(spec.stdout.parent.parent.glob("containers/*")) == []


async def test_a_start_that_is_cancelled_leaves_nothing(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec
) -> None:
    engine.silent.add("POST start")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.start, spec)
        with trio.fail_after(30):
            while not any(seen.endswith("start") for seen in engine.seen):  # noqa: ASYNC110 - as above
                await trio.sleep(0.01)
        assert engine.box.status == "created"
        nursery.cancel_scope.cancel()
    assert engine.boxes == {}


async def test_an_image_that_is_gone_is_told(place: ContainerPlacement, spec: ContainerSpec) -> None:
    with pytest.raises(OperatorError, match="not on this machine any more") as caught:
        await place.start(replace(spec, image=f"agent@sha256:{'0' * 64}"))
    assert "docker pull agent@sha256" in (caught.value.cure or "")


async def test_what_can_t_be_passed_is_refused(place: ContainerPlacement, spec: ContainerSpec) -> None:
    with pytest.raises(FormationFailed, match="NUL"):
        await place.start(replace(spec, env={"A": "\0"}))


async def test_a_plain_process_is_none_of_its(place: ContainerPlacement, spec: ContainerSpec) -> None:
    plain = ProcessSpec("x", ("x",), spec.cwd, "127.0.0.1", 1, spec.stdout, spec.stderr, {})
    with pytest.raises(InternalError):
        await place.start(plain)


# A later server


async def test_a_later_server_goes_on_with_it(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec, tmp_path: Path
) -> None:
    first = await place.start(spec)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.wait)
        engine.box.say("one")
        await written(spec.stdout, "one\n")
        nursery.cancel_scope.cancel()
    first.let_go()
    engine.box.say("while nobody was there")
    second = await placement(engine, tmp_path).adopt(record(engine), spec)
    assert second is not None
    assert second.adopted
    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.wait)
        engine.box.say("two")
        await written(spec.stdout, "one\nwhile nobody was there\ntwo\n")
        engine.box.exit(0)
    await second.end(expected=False)
    assert engine.boxes == {}


@pytest.mark.parametrize("what", ["token", "server", "ended", "gone", "away"])
async def test_what_is_not_proved_is_not_adopted(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec, tmp_path: Path, what: str
) -> None:
    await place.start(spec)
    known = record(engine)
    other = placement(engine, tmp_path, "server-2" if what == "server" else "server-1")
    if what == "token":
        known = record(engine, token_sha256="0" * 64)
    elif what == "ended":
        engine.box.exit(0)
    elif what == "gone":
        engine.boxes.clear()
    elif what == "away":
        await engine.go_away()
    assert await other.adopt(known, spec) is None


async def test_a_leftover_is_ended_by_its_labels_alone(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec, tmp_path: Path
) -> None:
    await place.start(spec)
    box = engine.box
    box.say("last words")
    stranger = placement(engine, tmp_path, "server-2")
    known = ProcessRecord(token_sha256=HASH, place="docker")  # the server died before it knew the id
    assert await stranger.end_leftover(known, 0.5)
    assert engine.boxes, "one of another server's is not touched"
    assert await place.end_leftover(known, 0.5)
    assert (engine.boxes, box.signals) == ({}, ["stop"])
    assert spec.stdout.read_text() == "last words\n"


async def test_a_leftover_that_can_t_be_ended_is_with_the_next_start(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec
) -> None:
    await place.start(spec)
    first = engine.box
    engine.fail["GET json"] = (500, "not just now")
    assert not await place.end_leftover(record(engine), 0.5)
    engine.fail.clear()
    await place.start(replace(spec, token="u" * 32))
    assert engine.box is not first


# An engine that goes away


async def test_one_that_runs_on_is_gone_on_with_when_the_engine_is_back(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec
) -> None:
    handle = await place.start(spec)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle.wait)
        engine.box.say("one")
        await written(spec.stdout, "one\n")
        async with trio.open_nursery() as engines:
            await engine.go_away()
            assert await handle.listens("127.0.0.1", 8001) is None
            engine.box.say("two")
            await engine.come_back(engines)
            await written(spec.stdout, "one\ntwo\n")
            engine.box.exit(5)
            with trio.fail_after(30):
                report = await handle.end(expected=False)
            engine.here.cancel()
    assert report.status == 5
    assert spec.stdout.read_text() == "one\ntwo\n"


async def test_one_whose_engine_stays_away_counts_as_lost_and_is_cleared_away_later(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muxi.containers.container.ENGINE_PATIENCE", 0.1)
    handle = await place.start(spec)
    first = engine.box
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle.wait)
        await engine.go_away()
    report = await handle.end(expected=False)
    assert (report.describe(), report.clean) == (LOST, False)
    with pytest.raises(MuxiError, match="does not answer"):
        await place.start(spec)
    async with trio.open_nursery() as engines:
        await engine.come_back(engines)
        await place.start(replace(spec, token="u" * 32))
        assert engine.box is not first
        engine.here.cancel()


# Measuring


async def test_it_is_measured_and_told_once_past_its_soft_limit(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec
) -> None:
    told: list[tuple[str, int]] = []

    def tell(process: str, memory: int) -> bool:
        told.append((process, memory))
        return True

    place.on_soft_limit = tell
    handle = await place.start(spec)
    assert isinstance(handle, Container)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle.wait)
        with trio.fail_after(30):
            while handle.usage is None:  # noqa: ASYNC110 - as above
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert (handle.usage.memory, handle.usage.threads, handle.usage.open_files) == (8 << 20, 3, None)
    assert told == [("hello", 8 << 20)]


# What is left over


async def lose(place: ContainerPlacement, engine: StandIn, spec: ContainerSpec) -> None:
    """Have a container whose formation was deleted while its engine was away."""
    handle = await place.start(spec)
    engine.box.say("last words")
    engine.fail["GET json"] = (500, "not just now")
    await handle.end(expected=True)
    engine.fail.clear()


async def test_a_later_server_removes_what_an_earlier_one_could_not(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec, tmp_path: Path
) -> None:
    await lose(place, engine, spec)
    await placement(engine, tmp_path, "server-2").tidy()
    assert engine.boxes, "another server's"
    await placement(engine, tmp_path).tidy()
    assert engine.boxes == {}
    assert spec.stdout.read_text() == "last words\n"
    assert list((tmp_path / "containers").iterdir()) == []


async def test_what_is_looked_after_or_may_be_adopted_is_let_alone(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec, tmp_path: Path
) -> None:
    await place.start(spec)
    await place.tidy()
    await placement(engine, tmp_path).tidy()
    assert engine.box.status == "running"


async def test_of_what_is_gone_nothing_is_kept(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec, tmp_path: Path
) -> None:
    await lose(place, engine, spec)
    engine.boxes.clear()
    await placement(engine, tmp_path).tidy()
    assert list((tmp_path / "containers").iterdir()) == []


async def test_nothing_is_looked_through_while_the_engine_is_away(
    place: ContainerPlacement, engine: StandIn, spec: ContainerSpec, tmp_path: Path
) -> None:
    await lose(place, engine, spec)
    await engine.go_away()
    await placement(engine, tmp_path).tidy()
    assert list((tmp_path / "containers").iterdir()) != []
