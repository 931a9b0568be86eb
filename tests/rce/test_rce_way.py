from __future__ import annotations

from pathlib import Path

import pytest

from muxi.config.model import Paths, defaults
from muxi.config.runtime import COMMAND
from muxi.errors import OperatorError
from muxi.process.health import HealthCheck
from muxi.rce.image_file import image_file_spec
from muxi.rce.program import RunnerProgram, command_program, image_program
from muxi.rce.reach import exposed_on, url_for
from muxi.rce.record import hash_of
from muxi.rce.settings import RceSettings
from muxi.rce.way import Way, choose_way
from muxi.runtime.apptainer_engine import Engine
from muxi.runtime.runtime import Presence, Surroundings

HOME = Path("/data/rce")
SIF = HOME / "skills-rce-0.3.10-linux-amd64.sif"
DOCKER = Presence("docker", available=True)
APPTAINER = Engine("/usr/bin/apptainer", "Apptainer", (1, 3, 4), "APPTAINER")


def settings(**changes: object) -> RceSettings:
    values: dict[str, object] = {"port": 7891, "token": "CANARY", "home": HOME, "image": "skills:1"}
    return RceSettings(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "engine", "sif", "docker", "expected"),
    [
        (settings(command=("runner", "-v")), APPTAINER, SIF, DOCKER, "program runner"),
        (settings(), APPTAINER, SIF, DOCKER, "skills-rce-0.3.10-linux-amd64.sif on Apptainer 1.3.4"),
        (settings(), APPTAINER, None, DOCKER, "its image on Apptainer 1.3.4"),
        (settings(), "it is not installed", SIF, DOCKER, "container of skills:1"),
    ],
)
def test_a_named_program_comes_before_an_image_file_and_that_before_a_container(
    asked: RceSettings, engine: Engine | str, sif: Path | None, docker: Presence, expected: str
) -> None:
    assert choose_way(asked, engine, sif, docker, may_download=True).description == expected


def test_an_image_file_that_may_not_be_fetched_is_none() -> None:
    assert choose_way(settings(), APPTAINER, None, DOCKER, may_download=False).description == (
        "container of skills:1"
    )


@pytest.mark.parametrize(
    ("engine", "docker", "words"),
    [
        (APPTAINER, None, "Image files: there is none in /data/rce. Containers: no engine is known."),
        (
            "neither apptainer nor singularity is installed",
            None,
            "Image files: neither apptainer",
        ),
        (
            APPTAINER,
            Presence("docker", available=False, problem="docker does not answer."),
            "Containers: docker does not answer.",
        ),
    ],
)
def test_what_is_missing_is_said_with_a_cure(
    engine: Engine | str, docker: Presence | None, words: str
) -> None:
    with pytest.raises(OperatorError) as caught:
        choose_way(settings(), engine, None, docker, may_download=False)
    assert (caught.value.code, caught.value.status) == ("RceUnavailable", 503)
    assert words in caught.value.message
    assert "rce.command" in str(caught.value.cure)


def test_an_image_file_is_contained_and_its_token_is_no_argument() -> None:
    around = Surroundings(
        process_id="muxi-rce",
        host="127.0.0.1",
        port=7899,
        server_url="",
        stdout=HOME,
        stderr=HOME,
        defaults=HealthCheck(),
        stop_timeout=5.0,
        search_path="/usr/bin",
    )
    made = image_file_spec(settings(), APPTAINER, SIF, around)
    assert made.argv == (
        "/usr/bin/apptainer", "--quiet", "exec",
        "--containall", "--cleanenv", "--pid", "--no-privs", "--no-eval", "--no-home",
        "--workdir", "/data/rce/scratch/muxi-rce.7899",
        "--mount", "type=bind,source=/data/rce/cache,destination=/cache/skills",
        "/data/rce/skills-rce-0.3.10-linux-amd64.sif", "skills-rce",
    )  # fmt: skip
    inside = {name: value for name, value in made.env.items() if name.startswith("APPTAINERENV_")}
    assert inside == {
        "APPTAINERENV_RCE_PORT": "7899",
        "APPTAINERENV_RCE_AUTH_TOKEN": "CANARY",
        "APPTAINERENV_RCE_CACHE_DIR": "/cache/skills",
        "APPTAINERENV_HOST": "127.0.0.1",
    }
    assert made.token_variables == ("APPTAINERENV_MUXI_INSTANCE_TOKEN",)
    assert made.health.start_up.paths == ("/health",)
    assert "CANARY" not in repr(made)


def test_a_program_and_a_container_get_their_settings_by_their_environment() -> None:
    program = command_program(settings(command=("runner", "--quiet")), 7891)
    assert (program.kind, program.command) == ("native", ("runner", "--quiet"))
    assert program.env == {
        "RCE_PORT": "7891",
        "RCE_AUTH_TOKEN": "CANARY",
        "RCE_CACHE_DIR": "/data/rce/cache",
    }
    container = image_program(settings())
    assert (container.kind, container.image, container.command) == ("image", "skills:1", None)
    assert container.env == {"RCE_AUTH_TOKEN": "CANARY"}, "it listens where its image says"


def test_it_is_asked_for_its_health_where_it_answers() -> None:
    assert RunnerProgram(kind="native", env={}).health.path == "/health"


def test_the_token_is_in_no_repr() -> None:
    way = Way(settings(command=("runner",)))
    assert "CANARY" not in repr(
        (way, way.settings, command_program(way.settings, 1), image_program(way.settings))
    )


def test_other_settings_or_another_image_file_are_another_process() -> None:
    one = Way(settings(), APPTAINER, SIF)
    others = [
        Way(settings(token="other"), APPTAINER, SIF),
        Way(settings(port=7892), APPTAINER, SIF),
        Way(settings(command=("x",)), APPTAINER, SIF),
        Way(settings(), APPTAINER, SIF.with_name("skills-rce-0.4-linux-amd64.sif")),
        Way(settings()),
    ]
    hashes = {hash_of(way, "salt") for way in (one, *others)}
    assert len(hashes) == 1 + len(others)
    assert hash_of(one, "salt") == hash_of(Way(settings(), APPTAINER, SIF), "salt")
    assert hash_of(one, "salt") != hash_of(one, "pepper")


def test_the_address_is_valid_from_inside_each_runtime() -> None:
    assert {name: url_for(name, 7891) for name in ("native", "muxi-python", "apptainer")} == dict.fromkeys(
        ("native", "muxi-python", "apptainer"), "http://127.0.0.1:7891"
    )
    assert url_for("docker", 7891) == "http://host.docker.internal:7891"


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ({"127.0.0.1"}, []),
        ({"::1", "127.0.0.2"}, []),
        (set(), []),
        ({"0.0.0.0", "127.0.0.1", "::"}, ["0.0.0.0", "::"]),
        ({"172.17.0.1"}, ["172.17.0.1"]),
    ],
)
def test_addresses_that_others_may_reach_are_found(addresses: set[str], expected: list[str]) -> None:
    assert exposed_on(addresses) == expected


def test_settings_are_read_off_the_configuration(tmp_path: Path) -> None:
    paths = Paths(*(tmp_path / name for name in ("config", "data", "log", "cache", "config.yaml")))
    found = RceSettings.of(defaults(paths))
    assert (found.port, found.token, found.command) == (7891, "", ())
    assert found.home == tmp_path / "data" / "rce"
    assert found.image == "ghcr.io/muxi-ai/skills-rce:latest"


def test_a_command_is_words_as_for_a_shell() -> None:
    assert COMMAND.parse("/opt/my runner") == ("/opt/my", "runner")
    assert COMMAND.parse("'/opt/my runner' -v") == ("/opt/my runner", "-v")
    assert COMMAND.parse(COMMAND.show(("a b", "c"))) == ("a b", "c")
    with pytest.raises(ValueError, match="quotation"):
        COMMAND.parse("'open")
