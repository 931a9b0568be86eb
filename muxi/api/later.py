"""Routes of the contract whose work this version does not do: they say so, and what to do instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.api.formations import ONE
from muxi.api.routing import Endpoint
from muxi.errors import NotSupportedYet

if TYPE_CHECKING:
    from quart import Response

    from muxi.api.routing import Handler

_REDEPLOY = "Deploy the new version under another id, or delete the formation and deploy it again."
_RUN_IT = "Deploy the formation, or run its own command by hand."

_MISSING: tuple[tuple[str, str, str, str], ...] = (
    ("PUT", ONE, "Updating a formation", _REDEPLOY),
    ("POST", f"{ONE}/update", "Updating a formation", _REDEPLOY),
    ("POST", f"{ONE}/update/stream", "Updating a formation", _REDEPLOY),
    ("POST", f"{ONE}/rollback", "Rolling back", "Deploy the older bundle again."),
    ("POST", f"{ONE}/rollback/stream", "Rolling back", "Deploy the older bundle again."),
    ("POST", f"{ONE}/cancel-update", "Cancelling an update", "There are no updates to cancel yet."),
    ("GET", f"{ONE}/operation", "Watching an operation again", "Look at the formation's status."),
    ("POST", "/rpc/dev/run", "Running a draft", _RUN_IT),
    ("POST", "/rpc/dev/stop", "Stopping a draft", "There are no drafts to stop yet."),
)


class LaterRoutes:
    """Each answers 501, authenticated and audited like all others."""

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(method, path, _refusal(what, cure)) for method, path, what, cure in _MISSING)


def _refusal(what: str, cure: str) -> Handler:
    async def refuse(**_arguments: str) -> Response:
        raise NotSupportedYet(f"{what} is not supported by this version of the server.", cure=cure)

    return refuse
