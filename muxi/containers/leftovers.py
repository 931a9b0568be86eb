"""Containers of ours that nobody looks after any more, and clearing them away.

There are two traces of such a one. Its token, which the registry had on disk before it was made: it
is a label of the container. And the file that says how far its output is copied, which is there as
long as the container is: one that no handle holds and no record names is left over. So also a
container that could not be ended, because its engine was away, is ended when that is back, even by
a later server. Its last output is copied first.
"""

from __future__ import annotations

import hmac
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
import trio

from muxi.containers.body import SERVER_LABEL, TOKEN_LABEL
from muxi.containers.copying import Copying
from muxi.containers.failures import EngineRefused, EngineUnavailable
from muxi.containers.journal import Journal
from muxi.containers.wire import ContainerFacts, ContainerListed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from muxi.containers.engine import Engine

log = structlog.get_logger()

STOP_SECONDS: Final = 10.0
COPY_SECONDS: Final = 5.0


class Leftovers:
    """Those of one server. `held` are the ids of containers that are looked after.

    `directory` holds the files of how far output is copied; `recorded` gives the ids that the
    registry names: these may still be adopted.
    """

    def __init__(
        self, engine: Engine, server_id: str, directory: Path, recorded: Callable[[], Collection[str]]
    ) -> None:
        self.held: set[str] = set()
        self._tokens: set[str] = set()
        self._engine = engine
        self.server_id = server_id
        self._directory = directory
        self._recorded = recorded

    def path(self, container_id: str) -> Path:
        """Return the file of how far a container's output is copied."""
        return self._directory / f"{container_id}.json"

    def is_ours(self, labels: Mapping[str, str] | None, token_sha256: str) -> bool:
        known = labels or {}
        return known.get(SERVER_LABEL) == self.server_id and hmac.compare_digest(
            known.get(TOKEN_LABEL, ""), token_sha256
        )

    def lose(self, container_id: str, token_sha256: str) -> None:
        """Take note of one that could not be cleared away now."""
        self.held.discard(container_id)
        self._tokens.add(token_sha256)

    async def end(self, token_sha256: str, grace: float) -> bool:
        """Ask all with this token to end, kill them after `grace` seconds; say whether all are gone."""
        try:
            for found in await self._marked(token_sha256):
                with suppress(EngineRefused):  # it does not run
                    params = {"t": str(max(1, round(grace)))}
                    path = f"/containers/{found}/stop"
                    await self._engine.send("POST", path, params=params, seconds=grace + STOP_SECONDS)
                await self._dispose(found)
        except (EngineUnavailable, EngineRefused) as error:
            log.warning("leftover container not ended", reason=error.message)
            self._tokens.add(token_sha256)
            return False
        return True

    async def clear(self, token_sha256: str = "") -> None:
        """Clear away all there are, and what has this token. Raises EngineUnavailable, EngineRefused."""
        for token in {*self._tokens, token_sha256} - {""}:
            for found in await self._marked(token):
                await self._dispose(found)
            self._tokens.discard(token)
        for container_id in await trio.to_thread.run_sync(self._files):
            if container_id not in self.held and container_id not in self._recorded():
                await self._dispose_abandoned(container_id)

    async def forget(self, container_id: str) -> None:
        """Take note that a container has been removed."""
        self.held.discard(container_id)
        await trio.to_thread.run_sync(partial(self.path(container_id).unlink, missing_ok=True))

    def _files(self) -> list[str]:
        with suppress(FileNotFoundError):
            return [path.stem for path in self._directory.glob("*.json")]
        return []

    async def _marked(self, token_sha256: str) -> list[str]:
        """Return the ids of all containers, in whatever state, that carry this token."""
        filters = msgspec.json.encode({"label": [f"{TOKEN_LABEL}={token_sha256}"]}).decode()
        found = await self._engine.get(
            "/containers/json", list[ContainerListed], params={"all": "1", "filters": filters}
        )
        return [one.id for one in found if self.is_ours(one.labels, token_sha256)]

    async def _dispose_abandoned(self, container_id: str) -> None:
        try:
            facts = await self._engine.get(f"/containers/{container_id}/json", ContainerFacts)
        except EngineRefused as error:
            if error.answer != 404:
                raise
            return await self.forget(container_id)
        if facts.labels.get(SERVER_LABEL) == self.server_id:
            log.warning("leftover container removed", container=container_id[:12], name=facts.name)
            await self._dispose(container_id)
        return None

    async def _dispose(self, container_id: str) -> None:
        """Kill and remove a container, after its last output has been copied."""
        with suppress(EngineRefused):  # it does not run
            await self._engine.send("POST", f"/containers/{container_id}/kill")
        try:
            journal = await trio.to_thread.run_sync(Journal.resume, self.path(container_id))
        except OSError as error:
            log.warning("output not complete", container=container_id[:12], reason=error.strerror)
            journal = None
        if journal is not None:
            await Copying(self._engine, container_id, journal).finish(COPY_SECONDS)
        await remove(self._engine, container_id)
        await self.forget(container_id)


async def remove(engine: Engine, container_id: str) -> None:
    """Kill a container, if it runs, and remove it with its anonymous volumes; one that is gone is fine.

    Raises EngineUnavailable, EngineRefused.
    """
    try:
        await engine.send("DELETE", f"/containers/{container_id}", params={"force": "1", "v": "1"})
    except EngineRefused as error:
        if error.answer not in {404, 409}:  # 409: it is being removed already
            raise
