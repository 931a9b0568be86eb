from __future__ import annotations

import pytest

from muxi.errors import OperatorError, RequestError
from muxi.sandbox.demand import Level, choose
from muxi.sandbox.status import Status

FULL = Status(program="/usr/bin/bwrap", version="bubblewrap 0.8.0", setpriv="/usr/bin/setpriv")
LITTLE = Status(setpriv="/usr/bin/setpriv", problem="bubblewrap (bwrap) is not installed", cure="Install it.")
NOTHING = Status(problem="sandboxes are made on Linux only", cure="Run the server on Linux.")


@pytest.mark.parametrize(
    ("mode", "wanted", "here", "level"),
    [
        ("off", None, FULL, Level.NONE),
        ("off", False, FULL, Level.NONE),
        ("off", True, FULL, Level.SANDBOX),
        ("auto", None, FULL, Level.SANDBOX),
        ("auto", None, LITTLE, Level.NO_NEW_PRIVILEGES),
        ("auto", None, NOTHING, Level.NONE),
        ("auto", False, FULL, Level.NONE),
        ("auto", True, FULL, Level.SANDBOX),
        ("required", None, FULL, Level.SANDBOX),
        ("required", True, FULL, Level.SANDBOX),
    ],
)
def test_who_says_what(mode: str, wanted: bool | None, here: Status, level: Level) -> None:
    assert choose(mode, wanted, here) is level


@pytest.mark.parametrize(("mode", "wanted"), [("off", True), ("auto", True), ("required", None)])
@pytest.mark.parametrize("here", [LITTLE, NOTHING], ids=["little", "nothing"])
def test_who_asks_for_a_sandbox_is_not_left_without(mode: str, wanted: bool | None, here: Status) -> None:
    with pytest.raises(OperatorError) as caught:
        choose(mode, wanted, here)
    error = caught.value
    assert (error.status, error.code, error.stage) == (503, "SandboxUnavailable", "resolving_runtime")
    assert here.problem in error.message
    assert error.cure == here.cure


@pytest.mark.parametrize("here", [FULL, NOTHING], ids=["full", "nothing"])
def test_a_manifest_may_not_ask_for_less_than_is_required(here: Status) -> None:
    with pytest.raises(RequestError, match="sandbox: false") as caught:
        choose("required", False, here)
    assert (caught.value.code, caught.value.stage) == ("SandboxRequired", "validating")


def test_what_is_in_force_is_told_in_words() -> None:
    assert LITTLE.in_force("auto") == {
        "native_formations": "auto",
        "files_and_processes": "none",
        "system_calls": "none",
        "new_privileges": "setpriv",
        "note": "bubblewrap (bwrap) is not installed",
    }
    assert FULL.in_force("off")["files_and_processes"] == "bubblewrap 0.8.0"
