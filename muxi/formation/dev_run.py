"""One directory that is run as it is, for those who work on it (`muxi.formation.dev`).

It has a port, an output and a home directory of its own, so it never touches what a live formation
of its id has. By what its process is known is on disk before that is started, so that a server
which follows a killed one can end it.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import Conflict, MuxiError, OperatorError
from muxi.files import PRIVATE_DIRECTORY, atomic_write
from muxi.formation.check import check_bundle
from muxi.formation.disk import remove_tree
from muxi.formation.plan import extra_variables
from muxi.formation.policy import route_policy
from muxi.formation.resources import process_limits
from muxi.formation.view import DevView, LogFiles
from muxi.process import log_pieces
from muxi.process.instance import Instance
from muxi.process.lifecycle import State
from muxi.process.means import Means
from muxi.process.procfs import hash_token
from muxi.process.tree_watch import TreeWatch
from muxi.registry.routes import Target
from muxi.runtime.runtime import Request, Surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from muxi.formation.facilities import Facilities
    from muxi.formation.manifest import Manifest
    from muxi.process.spec import ProcessSpec
    from muxi.registry.routes import RoutePolicy

log = structlog.get_logger()

COMING = frozenset({State.STARTING, State.RESTARTING, State.UNHEALTHY})
UP = frozenset({State.RUNNING, State.UNHEALTHY})


class DevRun:
    """One directory that runs. Its task is `run`; `stop` ends it.

    `watch`: it is restarted when a file has changed.
    """

    def __init__(self, facilities: Facilities, directory: Path, manifest: Manifest, *, watch: bool) -> None:
        self.id = manifest.id
        self.name = manifest.name
        self.directory = directory
        self.watch = watch
        self.port = facilities.ports.allocate(_key(self.id))
        self.instance: Instance | None = None
        self.ended = trio.Event()
        self._facilities = facilities
        self._manifest = manifest
        self._policy: RoutePolicy | None = None
        self._target: Target | None = None
        self._restarting = False
        self._asked_to_stop = trio.Event()
        self._settled = trio.Event()
        self._failure: MuxiError | None = _stopped(manifest.id)
        self._nursery: trio.Nursery
        self._home = facilities.dev_dir / self.id
        self._mark = facilities.dev_dir / f"{self.id}.json"

    @property
    def alive(self) -> bool:
        if self._restarting:  # between two processes
            return True
        return self.instance is not None and self.instance.state in COMING | {State.RUNNING}

    def stop(self) -> None:
        """Ask it to end; `ended` says when it has."""
        self._asked_to_stop.set()

    async def up(self) -> None:
        """Return once it is healthy. Raises MuxiError when it never is; then nothing is left of it."""
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure
        await self._facilities.routes.settled()

    async def run(self) -> None:
        """Run it until it is to stop, or did not come up."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._live()
                if self.instance is not None:
                    await self.instance.stop()
                nursery.cancel_scope.cancel()
        finally:
            await self._leave_nothing()
            self._settled.set()

    async def _live(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._come_up, nursery.cancel_scope)
            await self._asked_to_stop.wait()
            nursery.cancel_scope.cancel()

    async def _come_up(self, life: trio.CancelScope) -> None:
        try:
            await self._start(self._manifest)
        except MuxiError as error:
            self._failure = error
            life.cancel()
            return
        self._failure = None
        self._settled.set()
        if self.watch:
            await self._follow_files()

    async def _follow_files(self) -> None:
        try:
            watch = await trio.to_thread.run_sync(TreeWatch, self.directory)
        except OSError as error:
            log.warning("files not watched", directory=str(self.directory), reason=str(error))
            return
        try:
            while True:
                await watch.changed()
                await self._restart()
        except OSError as error:
            log.warning("files not watched any more", directory=str(self.directory), reason=str(error))
        finally:
            watch.close()

    async def _restart(self) -> None:
        """Run what the directory holds now; what can't be run waits for the next change."""
        log.info("files changed, restarting", formation_id=self.id)
        self._restarting = True
        try:
            manifest = await trio.to_thread.run_sync(
                check_bundle, self.directory, self._facilities.config, self.id, None
            )
            if self.instance is not None:
                await self.instance.stop()
            await self._start(manifest)
        except MuxiError as error:
            log.warning("does not run", formation_id=self.id, reason=error.message)
        finally:
            self._restarting = False
            self._publish()

    async def _start(self, manifest: Manifest) -> None:
        self._policy = route_policy(manifest.proxy, self._facilities.config.proxy)
        request = Request(program=manifest, release_dir=self.directory, state_dir=self._home)
        prepared = await self._facilities.runtimes.prepare(request)
        extra = await extra_variables(self._facilities, manifest, prepared.pin.runtime)
        around = self._surroundings(manifest, extra())
        spec = replace(prepared.spec(around), token=secrets.token_hex(16))
        place = "" if prepared.placement is None else prepared.placement.name
        await trio.to_thread.run_sync(self._prepare, spec, place)
        self.instance = Instance(
            spec,
            self._facilities.restart_policy(),
            on_change=self._changed,
            means=Means(launch=partial(self._facilities.spawn, placement=prepared.placement)),
        )
        await self._nursery.start(partial(self.instance.run, restart_on_failed_start=False))
        await self.instance.wait_healthy()

    def _surroundings(self, manifest: Manifest, extra: Mapping[str, str]) -> Surroundings:
        facilities = self._facilities
        logs = dev_logs(facilities, self.id)
        return Surroundings(
            process_id=_key(self.id),
            host=facilities.config.formations.bind_host,
            port=self.port,
            server_url=facilities.server_url,
            stdout=logs.stdout,
            stderr=logs.stderr,
            defaults=facilities.health_check(),
            stop_timeout=facilities.config.formations.deployment.force_kill_timeout,
            limits=replace(process_limits(manifest.resources, facilities.config.formations), memory_soft=0),
            search_path=facilities.search_path,
            extra_env=extra,
        )

    def _prepare(self, spec: ProcessSpec, place: str) -> None:
        """Make its home, begin its output anew, and write down how its process will be known."""
        try:
            self._home.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            for path in (spec.stdout, spec.stderr):
                log_pieces.remove(path)
            mark = {"token_sha256": hash_token(spec.token.encode()), "place": place}
            atomic_write(self._mark, json.dumps(mark).encode())
        except OSError as error:
            raise OperatorError(
                f"Could not prepare the run: {error.strerror}.", code="StorageError", status=507
            ) from error

    def _changed(self, instance: Instance) -> None:
        if instance is not self.instance:
            return
        if instance.state is State.RUNNING:
            self._target = self._target or Target(self._facilities.config.formations.bind_host, self.port)
        else:
            self._target = None
        self._publish()

    def _publish(self) -> None:
        state = self.instance.state if self.instance is not None else State.STARTING
        self._facilities.routes.publish(
            self.id,
            str(state),
            self._target,
            self._policy,
            returning=self._restarting or state in COMING,
            draft=True,
        )

    async def _leave_nothing(self) -> None:
        self._facilities.routes.withdraw(self.id, draft=True)
        self._facilities.ports.release(_key(self.id))
        with trio.CancelScope(shield=True), suppress(OSError):
            await trio.to_thread.run_sync(remove_tree, self._home)
            await trio.to_thread.run_sync(partial(self._mark.unlink, missing_ok=True))
        self.ended.set()


def view_of(run: DevRun) -> DevView:
    """Say how a run stands."""
    instance = run.instance
    state = instance.state if instance is not None else State.STARTING
    started = instance.started_at if instance is not None else None
    return DevView(
        id=run.id,
        name=run.name,
        directory=run.directory,
        watch=run.watch,
        status=str(state),
        port=run.port,
        pid=instance.pid if instance is not None else None,
        uptime=int(time.time() - started) if started is not None and state in UP else 0,
        restart_count=instance.restart_count if instance is not None else 0,
        healthy=instance.healthy if instance is not None else None,
        since=instance.since if instance is not None else time.time(),
        reason=instance.reason if instance is not None else None,
    )


def dev_logs(facilities: Facilities, formation_id: str) -> LogFiles:
    """Return where a run's output goes; no formation's id has a dot, so it is nobody else's."""
    directory = facilities.config.formations.logs_dir
    return LogFiles(directory / f"{formation_id}.dev-out.log", directory / f"{formation_id}.dev-err.log")


def _key(formation_id: str) -> str:
    return f"{formation_id}.dev"


def _stopped(formation_id: str) -> Conflict:
    return Conflict(f"The run of '{formation_id}' was stopped before it was healthy.", code="Stopped")
