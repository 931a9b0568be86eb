"""Whether a formation runs in a sandbox, by what its operator and its manifest say. Pure.

A manifest may ask for more than the operator does, never for less. Who asks for a sandbox gets
one, or an error: nobody is left in the belief of having one.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from muxi.errors import OperatorError, RequestError

if TYPE_CHECKING:
    from muxi.sandbox.status import Status


class Level(Enum):
    """What a formation's process is run in."""

    NONE = "not in a sandbox"
    NO_NEW_PRIVILEGES = "without a way to new privileges"
    SANDBOX = "in a sandbox"


def choose(mode: str, wanted: bool | None, here: Status) -> Level:
    """Decide; `mode` is the operator's, `wanted` the manifest's word, None where it has none.

    Raises RequestError (SandboxRequired) and OperatorError (503, SandboxUnavailable).
    """
    if mode == "required" and wanted is False:
        raise RequestError(
            "The manifest says `sandbox: false`, but this server runs formations in sandboxes only.",
            code="SandboxRequired",
            stage="validating",
            cure="Leave `sandbox` out of the manifest.",
        )
    if mode == "required" or wanted:
        if here.program:
            return Level.SANDBOX
        who = "This server requires" if mode == "required" else "The manifest asks for"
        raise _unavailable(f"{who} a sandbox", here)
    if mode == "off" or wanted is False:
        return Level.NONE
    if here.program:
        return Level.SANDBOX
    return Level.NO_NEW_PRIVILEGES if here.setpriv else Level.NONE


def _unavailable(because: str, here: Status) -> OperatorError:
    return OperatorError(
        f"{because}, but none can be made here: {here.problem}.",
        code="SandboxUnavailable",
        status=503,
        stage="resolving_runtime",
        cure=here.cure,
    )
