"""The client, against an engine that answers as the real one does, and as a broken one does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.containers.address import Address, known_sockets, locate, parse_address
from muxi.containers.engine import Engine, agree
from muxi.containers.failures import EngineRefused, EngineUnavailable, image_not_pulled
from muxi.containers.images import Images, normal_name, pinned_name
from muxi.containers.wire import EngineVersion, ImageFacts
from muxi.errors import OperatorError, RequestError
from tests.containers.standin import StandIn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DIGEST = f"sha256:{'ab' * 32}"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[StandIn]:
    async with StandIn(tmp_path / "e.sock").serving() as standing_in:
        yield standing_in


@pytest.mark.parametrize(
    ("engine", "wanted"),
    [
        (("1.41", "1.12"), "/v1.41"),
        (("1.44", "1.24"), "/v1.44"),
        (("1.99", "1.44"), "/v1.47"),
        (("1.99", "1.60"), "/v1.60"),
        (("1.40", "1.12"), None),
        (("2.0", "1.12"), "/v1.47"),
        (("", ""), None),
        (("new", "1.1"), None),
    ],
)
def test_the_newest_version_that_both_speak_is_taken(engine: tuple[str, str], wanted: str | None) -> None:
    newest, least = engine
    assert agree(EngineVersion(api_version=newest, min_a_p_i_version=least)) == wanted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("unix:///run/x.sock", "unix:///run/x.sock"),
        ("/run/x.sock", "unix:///run/x.sock"),
        ("tcp://127.0.0.1:2375", "http://127.0.0.1:2375"),
        ("tcp://localhost:2375", "http://localhost:2375"),
        ("tcp://[::1]:2375", "http://[::1]:2375"),
    ],
)
def test_addresses_of_this_machine_are_taken(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "tcp://example.org:2375",
        "tcp://10.0.0.1:2375",
        "ssh://root:pass@host",
        "unix://host/x",
        "tcp://x:y",
        "?",
    ],
)
def test_other_addresses_are_refused_with_the_cure(text: str) -> None:
    with pytest.raises(EngineUnavailable) as caught:
        parse_address(text)
    assert "runtime.engine.address" in (caught.value.cure or "")
    assert "pass@" not in caught.value.message


def test_the_configuration_wins_over_the_environment(tmp_path: Path) -> None:
    environ = {"DOCKER_HOST": "unix:///b.sock", "HOME": str(tmp_path)}
    assert str(locate("unix:///a.sock", environ)) == "unix:///a.sock"
    assert str(locate("", environ)) == "unix:///b.sock"
    assert tmp_path / ".docker/run/docker.sock" in known_sockets(environ)


async def test_an_engine_that_is_not_there_is_told_with_its_cure(tmp_path: Path) -> None:
    engine = Engine(lambda: Address(tmp_path / "none.sock"))
    with pytest.raises(EngineUnavailable, match="is not running") as caught:
        await engine.version()
    assert "systemctl start docker" in (caught.value.cure or "")
    assert caught.value.status == 503


async def test_a_socket_that_nobody_serves_is_told(tmp_path: Path) -> None:
    async with StandIn(tmp_path / "e.sock").serving() as standing_in:
        engine = standing_in.engine
    with pytest.raises(EngineUnavailable, match="does not answer"):
        await engine.version()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket")
async def test_a_socket_that_we_may_not_use_is_told(engine: StandIn) -> None:
    assert engine.address.socket is not None
    engine.address.socket.chmod(0)
    with pytest.raises(EngineUnavailable, match="may not use") as caught:
        await engine.engine.version()
    assert "usermod" in (caught.value.cure or "")


async def test_an_engine_that_is_too_old_is_told(engine: StandIn) -> None:
    engine.api = ("1.24", "1.12")
    with pytest.raises(EngineUnavailable, match="too old"):
        await engine.engine.rootless()


async def test_an_engine_that_hangs_is_given_up(engine: StandIn) -> None:
    engine.silent.add("GET version")
    with pytest.raises(EngineUnavailable, match=r"did not answer within 0.1 s \(GET /version\)"):
        await engine.engine.version(0.1)


async def test_a_stream_that_never_begins_is_given_up(engine: StandIn) -> None:
    engine.silent.add("GET logs")
    with pytest.raises(EngineUnavailable, match="did not answer"):
        async with engine.engine.stream("GET", "/containers/x/logs", seconds=0.1):
            raise AssertionError("it has begun")


async def test_its_own_words_reach_the_caller(engine: StandIn) -> None:
    engine.fail["GET info"] = (500, "the disk is on fire")
    with pytest.raises(EngineRefused, match="the disk is on fire") as caught:
        await engine.engine.rootless()
    assert caught.value.answer == 500


async def test_an_engine_that_comes_back_is_agreed_with_anew(engine: StandIn) -> None:
    client = engine.engine
    async with trio.open_nursery() as nursery:
        assert await client.rootless() is False
        await engine.go_away()
        with pytest.raises(EngineUnavailable):
            await client.get("/images/x/json", ImageFacts)
        engine.security, engine.api = ["name=rootless"], ("1.44", "1.24")
        await engine.come_back(nursery)
        assert await client.rootless() is True
        nursery.cancel_scope.cancel()
        engine.here.cancel()


# Images


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("agent", "agent:latest"),
        ("agent:1", "agent:1"),
        ("registry.example:5000/team/agent", "registry.example:5000/team/agent:latest"),
        (f"agent@{DIGEST}", f"agent@{DIGEST}"),
        (DIGEST, DIGEST),
    ],
)
def test_an_image_without_a_tag_is_the_latest(image: str, wanted: str) -> None:
    assert normal_name(image) == wanted


@pytest.mark.parametrize("image", ["", "a b", "../x", "a?b=c", "agent:", "Agent/Up", "a#b", "x" * 600, "a\n"])
def test_what_is_no_name_is_refused(image: str) -> None:
    with pytest.raises(RequestError, match="no name of an image"):
        normal_name(image)


@pytest.mark.parametrize(
    ("image", "digests", "wanted"),
    [
        ("agent:1", [f"agent@{DIGEST}"], f"agent@{DIGEST}"),
        ("agent:1", [f"docker.io/library/agent@{DIGEST}"], f"agent@{DIGEST}"),
        ("r.example/agent:1", [f"other/agent@{DIGEST}"], "sha256:1"),
        ("agent:1", [], "sha256:1"),
        (f"agent:1@{DIGEST}", [], f"agent@{DIGEST}"),
    ],
)
def test_a_pinned_name_can_be_fetched_again_where_there_is_a_registry(
    image: str, digests: list[str], wanted: str
) -> None:
    assert pinned_name(image, ImageFacts(id="sha256:1", repo_digests=tuple(digests))) == wanted


LAYERS: list[dict[str, object]] = [
    {"status": "Pulling from library/agent", "id": "1"},
    {"status": "Pulling fs layer", "id": "aa"},
    {"status": "Already exists", "id": "bb"},
    {"status": "Downloading", "id": "aa", "progressDetail": {"current": 1 << 20, "total": 4 << 20}},
    {"status": "Download complete", "id": "aa", "progressDetail": {}},
    {"status": "Pull complete", "id": "aa", "progressDetail": {}},
    {"status": "Digest: sha256:1"},
]


async def test_a_missing_image_is_pulled_and_the_progress_told(engine: StandIn) -> None:
    engine.registry["agent:1"] = LAYERS
    told: list[str] = []
    found = await Images(engine.engine).ensure(
        "agent:1", pull="missing", tell=lambda stage, message, **_: told.append(f"{stage}: {message}")
    )
    assert found.id == engine.images["agent:1"]["Id"]
    assert told[0] == "pulling_image: Pulling image agent:1..."
    assert told[-1] == "pulling_image: Pulling image agent:1: layers 2/2, 4.0 of 4.0 MiB"


async def test_an_image_that_is_there_is_not_pulled(engine: StandIn) -> None:
    engine.add_image("agent:1")
    await Images(engine.engine).ensure("agent:1", pull="missing", tell=_nobody)
    assert not [seen for seen in engine.seen if seen.endswith("create")]
    engine.registry["agent:1"] = LAYERS
    await Images(engine.engine).ensure("agent:1", pull="always", tell=_nobody)
    assert [seen for seen in engine.seen if seen.endswith("create")]


@pytest.mark.parametrize(
    ("registry", "pull", "words"),
    [
        (None, "missing", "manifest unknown"),
        ([{"status": "x"}, {"error": "pull access denied for agent"}], "missing", "denied"),
        (None, "never", "is configured not to fetch"),
    ],
)
async def test_an_image_that_can_t_be_had_is_explained(
    engine: StandIn, registry: list[dict[str, object]] | None, pull: str, words: str
) -> None:
    if registry is not None:
        engine.registry["agent:1"] = registry
    with pytest.raises(OperatorError, match=words) as caught:
        await Images(engine.engine).ensure("agent:1", pull=pull, tell=_nobody)
    assert caught.value.code == "PullError"


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("pull access denied, repository does not exist", "docker login"),
        ("manifest for x not found: manifest unknown", "name and tag"),
        ("no matching manifest for linux/arm64", "processor"),
        ("write /var/x: no space left on device", "Free space"),
        ("toomanyrequests: You have reached your limit", "limits strangers"),
        ("Get https://r: dial tcp: lookup r: no such host", "reaches the registry"),
    ],
)
def test_a_registry_s_words_have_a_cure(said: str, cure: str) -> None:
    assert cure in (image_not_pulled("x", said).cure or "")


def _nobody(stage: str, message: str, **fields: object) -> None:
    pass
