"""Containers of ours that could not be ended or removed when it was time, and doing it later.

Mostly because the engine was away. There are two traces of such a one. Its token, which was on disk
before it was made, is a label of the container. And the file that says how far its output is copied
gets another name, so that a later server clears it away as well. Its last output is copied first.
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
    from collections.abc import Mapping
    from pathlib import Path

    from muxi.containers.engine import Engine
    from muxi.registry.records import ProcessRecord

log = structlog.get_logger()

STOP_SECONDS: Final = 10.0
COPY_SECONDS: Final = 5.0
LOST: Final = ".lost"


class Leftovers:
    """Those of one server. `directory` holds the files of how far output is copied."""

    def __init__(self, engine: Engine, server_id: str, directory: Path) -> None:
        self.server_id = server_id
        self._tokens: set[str] = set()
        self._engine = engine
        self._directory = directory

    def path(self, container_id: str) -> Path:
        """Return the file of how far a container's output is copied."""
        return self._directory / f"{container_id}.json"

    def is_ours(self, labels: Mapping[str, str] | None, token_sha256: str) -> bool:
        known = labels or {}
        return known.get(SERVER_LABEL) == self.server_id and hmac.compare_digest(
            known.get(TOKEN_LABEL, ""), token_sha256
        )

    async def lose(self, container_id: str, token_sha256: str) -> None:
        """Take note of one that could not be cleared away now."""
        self._tokens.add(token_sha256)
        path = self.path(container_id)
        with trio.CancelScope(shield=True), suppress(OSError):  # without a file its token has to do
            await trio.to_thread.run_sync(path.rename, path.with_suffix(LOST))

    async def end(self, record: ProcessRecord, grace: float) -> bool:
        """Ask what a record tells of to end, kill it after `grace` seconds; say whether it is all gone."""
        try:
            for found in await self._marked(record.token_sha256):
                with suppress(EngineRefused):  # it does not run
                    params = {"t": str(max(1, round(grace)))}
                    path = f"/containers/{found}/stop"
                    await self._engine.send("POST", path, params=params, seconds=grace + STOP_SECONDS)
                await self._dispose(found, self.path(found))
        except (EngineUnavailable, EngineRefused) as error:
            log.warning("leftover container not ended", reason=error.message)
            await self.lose(record.container or "unknown", record.token_sha256)
            return False
        return True

    async def clear(self, token_sha256: str = "") -> None:
        """Clear away all there are, and what has this token. Raises EngineUnavailable, EngineRefused."""
        for path in await trio.to_thread.run_sync(self._lost):
            await self._dispose_lost(path)
        for token in {*self._tokens, token_sha256} - {""}:
            for found in await self._marked(token):
                await self._dispose(found, self.path(found))
            self._tokens.discard(token)

    async def forget(self, path: Path) -> None:
        """Remove the file of a container that has been removed."""
        await trio.to_thread.run_sync(partial(path.unlink, missing_ok=True))

    def _lost(self) -> list[Path]:
        return sorted(self._directory.glob(f"*{LOST}"))

    async def _marked(self, token_sha256: str) -> list[str]:
        """Return the ids of all containers, in whatever state, that carry this token."""
        filters = msgspec.json.encode({"label": [f"{TOKEN_LABEL}={token_sha256}"]}).decode()
        found = await self._engine.get(
            "/containers/json", list[ContainerListed], params={"all": "1", "filters": filters}
        )
        return [one.id for one in found if self.is_ours(one.labels, token_sha256)]

    async def _dispose_lost(self, path: Path) -> None:
        try:
            facts = await self._engine.get(f"/containers/{path.stem}/json", ContainerFacts)
        except EngineRefused as error:
            if error.answer != 404:
                raise
            return await self.forget(path)
        if facts.labels.get(SERVER_LABEL) == self.server_id:
            log.warning("leftover container removed", container=facts.id[:12], name=facts.name)
            await self._dispose(facts.id, path)
        return None

    async def _dispose(self, container_id: str, path: Path) -> None:
        """Kill and remove a container, after its last output has been copied."""
        with suppress(EngineRefused):  # it does not run
            await self._engine.send("POST", f"/containers/{container_id}/kill")
        try:
            journal = await trio.to_thread.run_sync(Journal.resume, path)
        except OSError as error:
            log.warning("output not complete", container=container_id[:12], reason=error.strerror)
            journal = None
        if journal is not None:
            await Copying(self._engine, container_id, journal).finish(COPY_SECONDS)
        await remove(self._engine, container_id)
        await self.forget(path)


async def remove(engine: Engine, container_id: str) -> None:
    """Kill a container, if it runs, and remove it with its anonymous volumes; one that is gone is fine.

    Raises EngineUnavailable, EngineRefused.
    """
    try:
        await engine.send("DELETE", f"/containers/{container_id}", params={"force": "1", "v": "1"})
    except EngineRefused as error:
        if error.answer not in {404, 409}:  # 409: it is being removed already
            raise
