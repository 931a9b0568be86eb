"""`POST …/draft/files`: one route for everything that is done to a draft, chosen by `action`.

Its answers have a shape of their own (http-api.md 1.6): `{success, data?, error?, message?, draft,
live}`, the last two as they are after the action. A deploy is answered as deploys are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import structlog
import trio
from quart import Response, request

from muxi.api.answers import json_response
from muxi.api.body import read_object
from muxi.api.draft_wire import MODES, DraftRequest, decoded, draft_state, encoded, entry_object
from muxi.api.exchange import current
from muxi.api.formations import ONE
from muxi.api.routing import Endpoint
from muxi.api.watching import answer
from muxi.errors import Conflict, MuxiError, NotFound, RequestError
from muxi.formation.identifier import validate_formation_id
from muxi.formation.members import holds_secrets

if TYPE_CHECKING:
    from muxi.api.parts import ApiParts
    from muxi.formation.drafts import Draft, DraftMeta
    from muxi.formation.releases import Release

_log = structlog.get_logger()

CHANGING = frozenset({"init", "write", "delete", "discard"})

Data = Mapping[str, object]
Action = Callable[["DraftRequest", "Draft"], Awaitable[Data]]


class DraftRoutes:
    """The one route, and what each action does."""

    def __init__(self, parts: ApiParts) -> None:
        self._fleet = parts.fleet
        self._facilities = parts.facilities
        self._parts = parts
        self._actions: Mapping[str, Action] = {
            "init": self._init,
            "list": self._list,
            "read": self._read,
            "write": self._write,
            "delete": self._delete,
            "discard": self._discard,
        }

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint("POST", f"{ONE}/draft/files", self.files),)

    async def files(self, formation_id: str) -> Response:
        """Carry out one action; what a draft's own answer can tell of its failure, it does."""
        try:
            validate_formation_id(formation_id)
        except MuxiError as error:  # no draft can be looked at under such a name
            return _failed(error, {"draft": {"exists": False}, "live": {}})
        draft = self._facilities.draft(formation_id)
        try:
            wanted = await self._request()
            current().outcome = f"draft {wanted.action}"
            if wanted.action != "deploy":
                data = await self._actions[wanted.action](wanted, draft)
                current().kept = "lastingly" if wanted.action in CHANGING else ""
                return json_response(
                    {"success": True, "data": data, **await self._state(draft, formation_id)}
                )
            is_live = await self._check_deploy(wanted, draft, formation_id)
        except MuxiError as error:
            return _failed(error, await self._state(draft, formation_id))
        if is_live:
            return await answer(
                self._fleet.update_draft(formation_id), self._parts.settings.keepalive_interval
            )
        operation = self._fleet.deploy_draft(formation_id)
        return await answer(operation, self._parts.settings.keepalive_interval, status=201)

    async def _request(self) -> DraftRequest:
        settings = self._parts.settings
        try:
            content = await read_object(
                aiter(request.body), settings.max_json_size, settings.body_chunk_timeout
            )
        except RequestError as error:
            if error.code == "InvalidJSON":
                error.status = 400
            raise
        return DraftRequest.parse(content)

    async def _state(self, draft: Draft, formation_id: str) -> dict[str, object]:
        """Say of the draft what it was made of, and of the live formation what it is now."""
        try:
            meta, release = await trio.to_thread.run_sync(
                _look, draft, self._facilities.releases(formation_id).current
            )
        except MuxiError as error:
            _log.warning("draft not looked at", reason=error.message)
            meta, release = None, None
        live: dict[str, object] = {}
        try:
            view = self._fleet.get(formation_id)
            live = {
                "version": view.version.semantic if view.version is not None else "",
                "status": view.status,
            }
        except NotFound:
            pass
        return {"draft": draft_state(meta, release), "live": live}

    async def _init(self, wanted: DraftRequest, draft: Draft) -> Data:
        if wanted.mode not in MODES:
            raise RequestError(
                "Invalid mode. Must be 'new' or 'clone'",
                code="InvalidMode",
                cure="Send one of those as `mode`.",
            )
        if wanted.mode == "new":
            await trio.to_thread.run_sync(draft.create)
        else:
            limits = self._facilities.config.formations.bundle
            await trio.to_thread.run_sync(draft.clone, limits, trio.from_thread.check_cancelled)
        return {"action": "init", "mode": wanted.mode}

    async def _list(self, wanted: DraftRequest, draft: Draft) -> Data:
        path, entries = await trio.to_thread.run_sync(draft.list, wanted.path)
        return {"path": path, "entries": [entry_object(entry) for entry in entries]}

    async def _read(self, wanted: DraftRequest, draft: Draft) -> Data:
        path, data = await trio.to_thread.run_sync(draft.read, wanted.path)
        if self._facilities.config.formations.download_secrets == "none" and holds_secrets(path):
            raise RequestError(
                "Files of secrets can't be read here.",
                code="SecretsHidden",
                status=403,
                cure="Allow it by formations.download_secrets, or write the file anew.",
            )
        return {"path": path, "content": encoded(data, wanted.encoding), "encoding": wanted.encoding}

    async def _write(self, wanted: DraftRequest, draft: Draft) -> Data:
        data = decoded(wanted.content, wanted.encoding)
        path = await trio.to_thread.run_sync(draft.write, wanted.path, data)
        return {"path": path, "size": len(data), "written": True}

    async def _delete(self, wanted: DraftRequest, draft: Draft) -> Data:
        path = await trio.to_thread.run_sync(draft.delete, wanted.path)
        return {"path": path, "deleted": True}

    async def _discard(self, _wanted: DraftRequest, draft: Draft) -> Data:
        await trio.to_thread.run_sync(draft.discard)
        return {"discarded": True}

    async def _check_deploy(self, wanted: DraftRequest, draft: Draft, formation_id: str) -> bool:
        """Say whether there is a live formation to update.

        Raises what is known before anything begins: in the draft's own shape, also for event streams.
        """
        release = self._facilities.releases(formation_id).current
        meta, live = await trio.to_thread.run_sync(_look, draft, release)
        if meta is None:
            raise NotFound(
                f"Formation '{formation_id}' has no draft.", code="DraftNotFound", cure="Begin one with init."
            )
        if wanted.require_base and meta.drifted(live):
            raise Conflict(
                f"The draft was made of version {meta.base_version}; live is now "
                f"{live.semantic if live is not None else 'none'}.",
                code="DraftOutdated",
                cure="Look at what changed, then deploy without require_base, or begin a new draft.",
            )
        await trio.to_thread.run_sync(draft.manifest)
        await self._fleet.brought_back(formation_id)
        try:
            running = self._fleet.get(formation_id).operation_id
        except NotFound:
            return False
        if running is not None:
            raise Conflict(
                f"Formation '{formation_id}' is being changed by another operation.",
                code="DeployConflict",
                cure="Wait until it has ended, then try again.",
            )
        return True


def _look(draft: Draft, live: Callable[[], Release | None]) -> tuple[DraftMeta | None, Release | None]:
    return draft.meta(), live()


def _failed(error: MuxiError, state: Mapping[str, object]) -> Response:
    """Answer an error in the draft's shape."""
    if error.status >= 500 and error.status != 501:
        _log.error("request failed", code=error.code, reason=error.message)
    current().status = error.status
    message = error.message if error.cure is None else f"{error.message} {error.cure}"
    return json_response({"success": False, "error": error.code, "message": message, **state}, error.status)
