from __future__ import annotations

import pytest

from muxi.errors import OperatorError, RequestError
from muxi.formation.manifest import Manifest
from muxi.runtime.choice import choose
from muxi.runtime.pin import Pin
from muxi.runtime.runtime import Presence


def manifest(kind: str, **fields: object) -> Manifest:
    return Manifest(**{"file_name": "formation.yaml", "id": "hello", "kind": kind, "name": "x", **fields})  # type: ignore[arg-type]


def here(*names: str) -> dict[str, Presence]:
    """Every runtime there is, of which only these are present."""
    return {
        name: Presence(name, available=name in names, problem=f"no {name} here", cure=f"Install {name}.")
        for name in ("native", "apptainer", "muxi-python", "docker")
    }


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        (("apptainer", "muxi-python", "docker"), "apptainer"),
        (("muxi-python", "docker"), "muxi-python"),
        (("docker",), "docker"),
    ],
)
def test_a_muxi_formation_runs_on_the_first_that_is_present(present: tuple[str, ...], chosen: str) -> None:
    choice = choose(manifest("muxi"), here(*present))
    assert (choice.name, choice.reason) == (chosen, "the first that is present here")


def test_a_native_formation_runs_natively_whatever_is_present() -> None:
    assert choose(manifest("native"), here("apptainer", "docker"), preferred="docker").name == "native"


def test_an_image_runs_in_a_container() -> None:
    assert choose(manifest("image", image="redis:8"), here("docker"), preferred="apptainer").name == "docker"


def test_what_a_release_ran_on_stays_even_if_a_better_one_has_come() -> None:
    pin = Pin(runtime="muxi-python", version="1.20260928.0", reason="the first that is present here")
    choice = choose(manifest("muxi"), here("apptainer"), pin, "docker")
    assert (choice.name, choice.reason) == ("muxi-python", "the first that is present here")


def test_what_the_operator_prefers_is_taken() -> None:
    choice = choose(manifest("muxi"), here("apptainer", "muxi-python"), preferred="muxi-python")
    assert (choice.name, choice.reason) == ("muxi-python", "the server's configuration prefers it")


@pytest.mark.parametrize(("kind", "preferred"), [("muxi", "docker"), ("image", "auto")])
def test_what_has_to_be_and_is_not_there_is_never_exchanged_for_another(kind: str, preferred: str) -> None:
    with pytest.raises(OperatorError, match="no docker here") as caught:
        choose(manifest(kind), here("apptainer", "muxi-python"), preferred=preferred)
    error = caught.value
    assert (error.status, error.code, error.cure) == (503, "RuntimeUnavailable", "Install docker.")


def test_where_nothing_can_run_it_each_is_named_with_why() -> None:
    with pytest.raises(RequestError, match=r"no apptainer here; .*no docker here") as caught:
        choose(manifest("muxi"), here("native"))
    error = caught.value
    assert (error.status, error.code, error.stage) == (501, "RuntimeUnavailable", "resolving_runtime")
    assert error.cure == "Install apptainer."


def test_a_variant_runs_where_there_are_images() -> None:
    program = manifest("muxi", muxi_runtime="1.2:cuda")
    assert choose(program, here("muxi-python", "docker")).name == "docker"
    assert (
        choose(manifest("muxi", muxi_runtime="1.2:lean"), here("muxi-python", "docker")).name == "muxi-python"
    )
    with pytest.raises(RequestError, match="'cuda' is an image") as caught:
        choose(program, here("muxi-python"))
    assert (caught.value.status, caught.value.code) == (501, "RuntimeUnavailable")
    with pytest.raises(OperatorError, match="'cuda' is an image"):
        choose(program, here("muxi-python", "docker"), preferred="muxi-python")


def test_a_version_that_is_none_is_nobodys() -> None:
    with pytest.raises(RequestError) as caught:
        choose(manifest("muxi", muxi_runtime="one"), here("muxi-python"))
    assert caught.value.code == "InvalidRuntime"
