"""Routes of the contract whose work this version does not do: they say so, and what to do instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.api.formations import ONE
from muxi.api.routing import Endpoint
from muxi.errors import NotSupportedYet

if TYPE_CHECKING:
    from quart import Response

    from muxi.api.routing import Handler


_MISSING: tuple[tuple[str, str, str, str], ...] = (
    ("GET", f"{ONE}/download", "Downloading a formation", "Keep the bundle that you deployed."),
    ("POST", f"{ONE}/draft/files", "Editing drafts", "Edit the files where you keep them, then deploy."),
    (
        "POST",
        "/rpc/formations/validate",
        "Validating without deploying",
        "Deploy: a bad bundle leaves nothing.",
    ),
)


class LaterRoutes:
    """Each answers 501, authenticated and audited like all others."""

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(method, path, _refusal(what, cure)) for method, path, what, cure in _MISSING)


def _refusal(what: str, cure: str) -> Handler:
    async def refuse(**_arguments: str) -> Response:
        raise NotSupportedYet(f"{what} is not supported by this version of the server.", cure=cure)

    return refuse
