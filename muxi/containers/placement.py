"""The place where containers run: starting them, finding them again, clearing away what is left.

A container is ours when its labels say so: this server's id, and the hash of the token that the
registry has on disk before the container is made. Neither a name nor a port proves anything, so
what has no such labels is never touched.
"""

from __future__ import annotations

import os
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
import trio

from muxi.containers.body import create_body, environment_problem, labels
from muxi.containers.container import Container, Keeping
from muxi.containers.failures import EngineRefused, EngineUnavailable, image_missing, not_started
from muxi.containers.journal import Journal
from muxi.containers.leftovers import remove
from muxi.containers.spec import ContainerSpec
from muxi.containers.wire import ContainerFacts, Created, ImageFacts
from muxi.errors import FormationFailed, InternalError, StorageError
from muxi.process.procfs import hash_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.containers.engine import Engine
    from muxi.containers.leftovers import Leftovers
    from muxi.process.handle import Handle
    from muxi.process.spec import ProcessSpec
    from muxi.registry.records import ProcessRecord

log = structlog.get_logger()

CREATE_SECONDS: Final = 60.0
"""Making and starting a container: an engine under load takes its time."""
UNDO_SECONDS: Final = 10.0
GONE: Final = "Load it again, and deploy the formation again."


class ContainerPlacement:
    """All containers of one server in one engine. Used by many tasks at once.

    `on_soft_limit` is called as the meter's is (`muxi.process.meter`).
    """

    name = "docker"

    def __init__(self, engine: Engine, leftovers: Leftovers, interval: Callable[[], float]) -> None:
        """`interval` says how many seconds are between two measurements of a container."""
        self.on_soft_limit: Callable[[str, int], bool] | None = None
        self._engine = engine
        self._leftovers = leftovers
        self._keeping = Keeping(engine, leftovers, self._measured, interval)
        self._soft_told: set[str] = set()

    async def start(self, spec: ProcessSpec) -> Handle:
        """See `Placement.start`; raises FormationFailed, OperatorError, StorageError."""
        if not isinstance(spec, ContainerSpec):
            raise InternalError("A process was to be started as a container.")
        problem = environment_problem(spec.env)
        if problem is not None:
            raise FormationFailed(f"Of env, {problem}.", code="SpawnError", stage="spawning")
        token_sha256 = hash_token((spec.token or secrets.token_hex(16)).encode())
        await self._leftovers.clear(token_sha256)
        known_by = labels(self._leftovers.server_id, spec.process_id, token_sha256)
        body = create_body(spec, await self._image(spec.image), known_by, await self._user(spec))
        try:
            return await self._run(spec, body, token_sha256)
        except EngineRefused as error:
            raise not_started(error, spec.image, spec.port) from error

    async def adopt(self, record: ProcessRecord, spec: ProcessSpec) -> Handle | None:
        try:
            facts = await self._facts(record.container)
        except (EngineUnavailable, EngineRefused) as error:
            log.warning("container not adopted", container=record.container[:12], reason=error.message)
            return None
        if (
            facts is None
            or not facts.state.running
            or not self._leftovers.is_ours(facts.labels, record.token_sha256)
        ):
            return None
        journal = await self._journal(facts.id, spec)
        return Container(self._keeping, facts, spec, journal, record.token_sha256, adopted=True)

    async def end_leftover(self, record: ProcessRecord, grace: float) -> bool:
        return await self._leftovers.end(record, grace)

    async def tidy(self) -> None:
        """Clear away what earlier servers could not, if the engine can be asked just now."""
        try:
            await self._leftovers.clear()
        except (EngineUnavailable, EngineRefused) as error:
            log.info("containers not looked through", reason=error.message)

    async def _run(self, spec: ContainerSpec, body: dict[str, object], token_sha256: str) -> Container:
        made = name = f"muxi-{spec.process_id}-{secrets.token_hex(4)}"
        try:
            made = await self._create(name, body, spec)
            journal = await self._journal(made, spec, fresh=True)
            await self._engine.send("POST", f"/containers/{made}/start", seconds=CREATE_SECONDS)
            facts = await self._engine.get(f"/containers/{made}/json", ContainerFacts)
        except BaseException:
            with trio.move_on_after(UNDO_SECONDS, shield=True):
                await self._undo(made, token_sha256)
            raise
        return Container(self._keeping, facts, spec, journal, token_sha256, adopted=False)

    async def _undo(self, made: str, token_sha256: str) -> None:
        """Remove one that did not come to be, by its id or, where that is not known, its name."""
        try:
            await remove(self._engine, made)
        except (EngineUnavailable, EngineRefused) as error:
            log.warning("container not removed", container=made[:12], reason=error.message)
            await self._leftovers.lose(made, token_sha256)
        else:
            await self._leftovers.forget(self._leftovers.path(made))

    async def _create(self, name: str, body: dict[str, object], spec: ContainerSpec) -> str:
        params = {"name": name} | ({"platform": spec.platform} if spec.platform else {})
        answer = await self._engine.send(
            "POST", "/containers/create", params=params, body=body, seconds=CREATE_SECONDS
        )
        created = msgspec.json.decode(answer, type=Created)
        for warning in created.warnings or ():
            log.warning("the engine warns", process=spec.process_id, warning=warning)
        return created.id

    async def _user(self, spec: ContainerSpec) -> str | None:
        """Return whom it runs as: who can read the release, and write the state."""
        if not spec.as_server or not hasattr(os, "getuid"):
            return None
        return "0:0" if await self._engine.rootless() else f"{os.getuid()}:{os.getgid()}"

    async def _image(self, image: str) -> ImageFacts:
        try:
            return await self._engine.get(f"/images/{image}/json", ImageFacts)
        except EngineRefused as error:
            if error.answer == 404:
                again = f"Fetch it again: docker pull {image}" if "@" in image else GONE
                raise image_missing(image, " any more", again) from error
            raise

    async def _journal(self, container_id: str, spec: ProcessSpec, *, fresh: bool = False) -> Journal:
        path = self._leftovers.path(container_id)
        try:
            journal = None if fresh else await trio.to_thread.run_sync(Journal.resume, path)
            if journal is None:
                begin = partial(Journal.begin, path, spec.stdout, spec.stderr, 0 if fresh else time.time_ns())
                journal = await trio.to_thread.run_sync(begin)
        except OSError as error:
            raise StorageError(
                f"The output of a container can't be written to {spec.stdout.parent}: {error.strerror}.",
                stage="spawning",
                cure="Make the logs directory writable for the server, and see that its disk has room.",
            ) from error
        return journal

    async def _facts(self, container_id: str) -> ContainerFacts | None:
        try:
            return await self._engine.get(f"/containers/{container_id}/json", ContainerFacts)
        except EngineRefused as error:
            if error.answer == 404:
                return None
            raise

    def _measured(self, process_id: str, memory: int, soft_limit: int) -> None:
        """Tell once of each time that a container is past its soft limit, if something is done about it."""
        if not soft_limit or memory <= soft_limit:
            self._soft_told.discard(process_id)
        elif (
            process_id not in self._soft_told
            and self.on_soft_limit is not None
            and self.on_soft_limit(process_id, memory)
        ):
            self._soft_told.add(process_id)
