"""Development runs: a directory run as it is, under `/draft/{id}`, beside a live formation of that id.

Nothing is deployed: there is no release, no record, and the process ends with the server. It has
a port, an output and a home directory of its own, so it never touches what the live one has.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import Conflict, MuxiError, NotFound, OperatorError
from muxi.files import PRIVATE_DIRECTORY, atomic_write
from muxi.formation.check import check_bundle
from muxi.formation.dev_source import find_directory
from muxi.formation.disk import remove_tree
from muxi.formation.policy import route_policy
from muxi.formation.resources import process_limits
from muxi.formation.view import LogFiles
from muxi.process import log_pieces
from muxi.process.identity import stop_marked
from muxi.process.instance import Instance
from muxi.process.lifecycle import State
from muxi.process.means import Means
from muxi.process.procfs import hash_token
from muxi.process.tree_watch import TreeWatch
from muxi.registry.routes import Target
from muxi.runtime.native import native_spec

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.formation.facilities import Facilities
    from muxi.formation.manifest import Manifest
    from muxi.process.spec import ProcessSpec
    from muxi.registry.routes import RoutePolicy

log = structlog.get_logger()

COMING = frozenset({State.STARTING, State.RESTARTING, State.UNHEALTHY})


class DevRun:
    """One directory that runs. Its task is `run`; `stop` ends it."""

    def __init__(self, facilities: Facilities, directory: Path, manifest: Manifest) -> None:
        self.id = manifest.id
        self.directory = directory
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

    async def run(self, *, watch: bool) -> None:
        """Run it until it is to stop, or did not come up. `watch`: restart it when a file has changed."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._live(watch=watch)
                if self.instance is not None:
                    await self.instance.stop()
                nursery.cancel_scope.cancel()
        finally:
            await self._leave_nothing()
            self._settled.set()

    async def _live(self, *, watch: bool) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._come_up, nursery.cancel_scope, watch)
            await self._asked_to_stop.wait()
            nursery.cancel_scope.cancel()

    async def _come_up(self, life: trio.CancelScope, watch: bool) -> None:
        try:
            await self._start(self._manifest)
        except MuxiError as error:
            self._failure = error
            life.cancel()
            return
        self._failure = None
        self._settled.set()
        if watch:
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
        spec = self._spec(manifest)
        await trio.to_thread.run_sync(self._prepare, spec)
        self.instance = Instance(
            spec,
            self._facilities.restart_policy(),
            on_change=self._changed,
            means=Means(launch=self._facilities.spawn),
        )
        await self._nursery.start(partial(self.instance.run, restart_on_failed_start=False))
        await self.instance.wait_healthy()

    def _spec(self, manifest: Manifest) -> ProcessSpec:
        facilities = self._facilities
        logs = dev_logs(facilities, self.id)
        spec = native_spec(
            manifest,
            self.directory,
            self._home,
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
            extra_env={},
        )
        return replace(spec, token=secrets.token_hex(16))

    def _prepare(self, spec: ProcessSpec) -> None:
        """Make its home, begin its output anew, and write down how its process will be known."""
        try:
            self._home.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            for path in (spec.stdout, spec.stderr):
                log_pieces.remove(path)
            atomic_write(self._mark, json.dumps({"token_sha256": hash_token(spec.token.encode())}).encode())
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


class DevRuns:
    """All development runs, by id; tasks of a nursery of their own."""

    def __init__(self, facilities: Facilities) -> None:
        self._facilities = facilities
        self._runs: dict[str, DevRun] = {}
        self._nursery: trio.Nursery

    async def hold(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the runs' tasks; first end what a killed server left. Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await self._end_leftovers()
            await trio.sleep_forever()

    async def start(self, path: object, formation_id: object = None, *, watch: bool = False) -> DevRun:
        """Run a directory, or a formation's draft; returns once it is healthy.

        Raises MuxiError; then nothing is left of it. Cancelling this before it is healthy ends it.
        """
        config = self._facilities.config
        directory = await trio.to_thread.run_sync(
            find_directory, path, formation_id, config.formations.formations_dir
        )
        manifest = await trio.to_thread.run_sync(check_bundle, directory, config, None, None)
        await self._make_way(manifest.id)
        run = self._runs[manifest.id] = DevRun(self._facilities, directory, manifest)
        self._nursery.start_soon(partial(self._keep, run, watch=watch))
        try:
            await run.up()
        except trio.Cancelled:
            run.stop()
            raise
        return run

    async def stop(self, formation_id: str) -> None:
        """End a run and leave nothing of it. Raises NotFound."""
        run = self._runs.get(formation_id)
        if run is None:
            raise NotFound(
                f"No draft of formation '{formation_id}' is running.",
                code="DraftNotRunning",
                cure="See with `muxi-server formation list` what runs otherwise.",
            )
        run.stop()
        await run.ended.wait()

    async def shut_down(self) -> None:
        """End all of them, side by side."""
        runs = list(self._runs.values())
        for run in runs:
            run.stop()
        for run in runs:
            await run.ended.wait()

    async def _make_way(self, formation_id: str) -> None:
        """Raise unless none of that id runs; one that has crashed for good is cleared away."""
        there = self._runs.get(formation_id)
        if there is not None and (there.alive or there.instance is None):
            raise _running(there)
        if there is not None:
            await self.stop(formation_id)

    async def _keep(self, run: DevRun, *, watch: bool) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(formation_id=run.id)
        try:
            await run.run(watch=watch)
        except Exception:
            # What breaks in one run must not reach the others.
            log.exception("development run broke")
        finally:
            if self._runs.get(run.id) is run:
                del self._runs[run.id]

    async def _end_leftovers(self) -> None:
        grace = self._facilities.config.formations.deployment.force_kill_timeout
        for mark in await trio.to_thread.run_sync(_marks, self._facilities.dev_dir):
            token = await trio.to_thread.run_sync(_token, mark)
            if token is not None:
                await stop_marked(token, grace)
            await trio.to_thread.run_sync(partial(mark.unlink, missing_ok=True))
            await trio.to_thread.run_sync(remove_tree, mark.with_suffix(""))


def dev_logs(facilities: Facilities, formation_id: str) -> LogFiles:
    """Return where a run's output goes; no formation's id has a dot, so it is nobody else's."""
    directory = facilities.config.formations.logs_dir
    return LogFiles(directory / f"{formation_id}.dev-out.log", directory / f"{formation_id}.dev-err.log")


def _key(formation_id: str) -> str:
    return f"{formation_id}.dev"


def _marks(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.json")) if directory.is_dir() else []


def _token(mark: Path) -> str | None:
    try:
        token = json.loads(mark.read_bytes()).get("token_sha256")
    except (OSError, ValueError, AttributeError):
        return None
    return token if isinstance(token, str) else None


def _running(run: DevRun) -> Conflict:
    return Conflict(
        f"Formation '{run.id}' is already running on port {run.port}. Run 'muxi down' first.",
        code="AlreadyRunning",
    )


def _stopped(formation_id: str) -> Conflict:
    return Conflict(f"The run of '{formation_id}' was stopped before it was healthy.", code="Stopped")
