"""Which runtime a formation runs on, and why. Pure.

In this order: what its release ran on before; what its manifest leaves as the only one; what the
operator prefers, which is never quietly exchanged for another; the first that is present.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from muxi.errors import OperatorError, RequestError
from muxi.images.versions import LEAN, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.runtime.pin import Pin
    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Presence

AUTO: Final = "auto"
NATIVE: Final = "native"
MUXI_PYTHON: Final = "muxi-python"
APPTAINER: Final = "apptainer"
DOCKER: Final = "docker"

MUXI_RUNTIMES: Final = (APPTAINER, MUXI_PYTHON, DOCKER)
"""What a MUXI formation can run on, the best first: an image that holds all it needs, then what
can be built here, then an engine that has to run beside us."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The name of a runtime, and in words why it is that one."""

    name: str
    reason: str


def choose(
    program: Program, presences: Mapping[str, Presence], pin: Pin | None = None, preferred: str = AUTO
) -> Choice:
    """Choose among the runtimes that this server knows.

    Raises RequestError (501, RuntimeUnavailable) where none can run it, and OperatorError (503,
    RuntimeUnavailable) where the one that has to can't be used just now.
    """
    if pin is not None:
        return Choice(pin.runtime, pin.reason)
    if program.kind == "native":
        return Choice(NATIVE, "its manifest names no runtime")
    if program.kind == "image":
        _require(presences, DOCKER, "the manifest names an image")
        return Choice(DOCKER, "its manifest names an image")
    presences = _for_variant(program, presences)
    if preferred != AUTO:
        _require(presences, preferred, f"this server is configured to run MUXI formations on {preferred}")
        return Choice(preferred, "the server's configuration prefers it")
    for name in MUXI_RUNTIMES:
        found = presences.get(name)
        if found is not None and found.available:
            return Choice(name, "the first that is present here")
    raise _unavailable(program, presences)


def _for_variant(program: Program, presences: Mapping[str, Presence]) -> Mapping[str, Presence]:
    """Return the presences for the variant that is asked for: a package has none, whoever has an image."""
    found, wanted = presences.get(MUXI_PYTHON), parse(program.muxi_runtime)
    if found is None or not found.available or wanted.variant == LEAN:
        return presences
    without = replace(
        found,
        available=False,
        problem=f"the variant '{wanted.variant}' is an image, and it runs the package",
        cure="Install Apptainer or Docker on the server, or ask for the runtime without a variant.",
    )
    return {**presences, MUXI_PYTHON: without}


def _require(presences: Mapping[str, Presence], name: str, because: str) -> None:
    found = presences.get(name)
    if found is not None and found.available:
        return
    raise OperatorError(
        f"{because[0].upper()}{because[1:]}, but {name} can't be used: {_problem(found)}.",
        code="RuntimeUnavailable",
        status=503,
        stage="resolving_runtime",
        cure=(found.cure if found is not None else "") or f"Install {name}, or choose another runtime.",
    )


def _unavailable(program: Program, presences: Mapping[str, Presence]) -> RequestError:
    tried = "; ".join(f"{name}: {_problem(presences[name])}" for name in MUXI_RUNTIMES if name in presences)
    cures = [presences[name].cure for name in MUXI_RUNTIMES if name in presences and presences[name].cure]
    return RequestError(
        f"'{program.id}' needs the MUXI runtime, and nothing here can run it"
        + (f" ({tried})." if tried else "."),
        code="RuntimeUnavailable",
        status=501,
        stage="resolving_runtime",
        cure=cures[0]
        if cures
        else "Give the formation a `command` (or an app.py) and no `muxi_runtime`, `agents` or `llm`.",
    )


def _problem(found: Presence | None) -> str:
    return "this server does not know it" if found is None else found.problem or "it is not there"
