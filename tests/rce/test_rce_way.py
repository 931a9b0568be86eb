from __future__ import annotations

from pathlib import Path

import pytest

from muxi.config.model import Paths, defaults
from muxi.config.runtime import COMMAND
from muxi.errors import OperatorError
from muxi.rce.program import RunnerProgram
from muxi.rce.reach import exposed_on, url_for
from muxi.rce.record import hash_of
from muxi.rce.settings import RceSettings
from muxi.rce.way import MACHINES, Findings, Way, choose_way, look, newest_sif
from muxi.runtime.runtime import Presence

HOME = Path("/data/rce")
SIF = HOME / "skills-rce-0.3.10-linux-amd64.sif"
DOCKER = {"docker": Presence("docker", available=True)}


def settings(**changes: object) -> RceSettings:
    values: dict[str, object] = {"port": 7891, "token": "CANARY", "home": HOME, "image": "skills:1"}
    return RceSettings(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "found", "presences", "expected"),
    [
        (settings(command=("runner", "-v")), Findings("/bin/apptainer", SIF), DOCKER, "program runner"),
        (settings(), Findings("/bin/apptainer", SIF), DOCKER, "image file skills-rce-0.3.10-linux-amd64.sif"),
        (settings(), Findings(None, SIF), DOCKER, "container of skills:1"),
        (settings(), Findings("/bin/apptainer", None), DOCKER, "container of skills:1"),
    ],
)
def test_a_named_program_comes_before_an_image_file_and_that_before_a_container(
    asked: RceSettings, found: Findings, presences: dict[str, Presence], expected: str
) -> None:
    assert choose_way(asked, found, presences).description == expected


@pytest.mark.parametrize(
    ("found", "presences", "words"),
    [
        (Findings(None, None), {}, "there is no image file in /data/rce, and no container engine is known"),
        (Findings(None, SIF), {}, "neither apptainer nor singularity is there to run skills-rce-0.3.10"),
        (
            Findings(None, None),
            {"docker": Presence("docker", available=False, problem="docker does not answer")},
            "and docker does not answer",
        ),
    ],
)
def test_what_is_missing_is_said_with_a_cure(
    found: Findings, presences: dict[str, Presence], words: str
) -> None:
    with pytest.raises(OperatorError) as caught:
        choose_way(settings(), found, presences)
    assert (caught.value.code, caught.value.status) == ("RceUnavailable", 503)
    assert words in caught.value.message
    assert "rce.command" in str(caught.value.cure)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("0.2.2", "0.2.10", "0.2.9"), "0.2.10"),
        (("1.0", "0.20260401.1"), "1.0"),
        ((), None),
    ],
)
def test_the_newest_image_file_is_found_by_numbers(names: tuple[str, ...], expected: str | None) -> None:
    files = [f"skills-rce-{name}-linux-amd64.sif" for name in names]
    others = ["skills-rce-9.0-linux-arm64.sif", "skills-rce-9.0-linux-amd64.sif.part", "skills-rce-x.sif"]
    wanted = None if expected is None else f"skills-rce-{expected}-linux-amd64.sif"
    assert newest_sif([*files, *others], "amd64") == wanted


def test_image_files_and_their_engine_are_looked_for(tmp_path: Path) -> None:
    engine = tmp_path / "bin" / "singularity"
    engine.parent.mkdir()
    engine.write_text("#!/bin/sh\n")
    engine.chmod(0o755)
    for machine in set(MACHINES.values()):
        (tmp_path / f"skills-rce-1.2.3-linux-{machine}.sif").touch()
    found = look(settings(home=tmp_path), str(engine.parent))
    assert found.engine == str(engine)
    assert found.sif is not None
    assert found.sif.name.startswith("skills-rce-1.2.3-linux-")
    assert look(settings(home=tmp_path / "none"), "/nowhere") == Findings(None, None)


def test_an_image_file_is_contained_and_its_token_is_no_argument() -> None:
    made = Way("", settings(), "/usr/bin/apptainer", SIF).program(7899)
    assert made.command == (
        "/usr/bin/apptainer", "exec", "--containall", "--no-home",
        "--workdir", "/data/rce/work", "--bind", "/data/rce/cache:/cache/skills",
        "/data/rce/skills-rce-0.3.10-linux-amd64.sif", "skills-rce",
    )  # fmt: skip
    assert made.env == {
        "APPTAINERENV_RCE_PORT": "7899",
        "APPTAINERENV_RCE_AUTH_TOKEN": "CANARY",
        "APPTAINERENV_RCE_CACHE_DIR": "/cache/skills",
    }
    old = Way("", settings(), "/opt/bin/singularity", SIF).program(7899)
    assert old.env["SINGULARITYENV_RCE_PORT"] == "7899"


def test_a_program_and_a_container_get_their_settings_by_their_environment() -> None:
    program = Way("", settings(command=("runner", "--quiet"))).program(7891)
    assert (program.kind, program.command) == ("native", ("runner", "--quiet"))
    assert program.env == {
        "RCE_PORT": "7891",
        "RCE_AUTH_TOKEN": "CANARY",
        "RCE_CACHE_DIR": "/data/rce/cache",
    }
    container = Way("", settings()).program(7891)
    assert (container.kind, container.image, container.command) == ("image", "skills:1", None)
    assert container.env == {"RCE_PORT": "7891", "RCE_AUTH_TOKEN": "CANARY"}


def test_it_is_asked_for_its_health_where_it_answers() -> None:
    assert RunnerProgram(kind="native", env={}).health.path == "/health"


def test_the_token_is_in_no_repr() -> None:
    way = Way("", settings(command=("runner",)))
    assert "CANARY" not in repr((way, way.settings, way.program(1)))


def test_other_settings_or_another_image_file_are_another_process() -> None:
    one = Way("", settings(), "/bin/apptainer", SIF)
    others = [
        Way("", settings(token="other"), "/bin/apptainer", SIF),
        Way("", settings(port=7892), "/bin/apptainer", SIF),
        Way("", settings(command=("x",)), "/bin/apptainer", SIF),
        Way("", settings(), "/bin/apptainer", SIF.with_name("skills-rce-0.4-linux-amd64.sif")),
        Way("", settings()),
    ]
    hashes = {hash_of(way, "salt") for way in (one, *others)}
    assert len(hashes) == 1 + len(others)
    assert hash_of(one, "salt") == hash_of(Way("said otherwise", settings(), "/bin/apptainer", SIF), "salt")
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
