"""Development runs: directories run as they are, under `/draft/{id}`, beside live formations of those ids.

Nothing is deployed: there is no release, no record, and the processes end with the server.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
import structlog
import trio

from muxi.errors import Conflict, NotFound
from muxi.formation.adopting import end_process
from muxi.formation.check import check_bundle
from muxi.formation.dev_run import DevRun, dev_logs, view_of
from muxi.formation.dev_source import find_directory
from muxi.formation.disk import remove_tree
from muxi.formation.identifier import id_problem
from muxi.registry.records import ProcessRecord

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.formation.facilities import Facilities
    from muxi.formation.view import DevView, LogFiles

log = structlog.get_logger()


class DevRuns:
    """All development runs, by id; tasks of a nursery of their own."""

    def __init__(self, facilities: Facilities) -> None:
        self._facilities = facilities
        self._runs: dict[str, DevRun] = {}
        #: Set once nothing is left of an earlier server's runs; else a new one would be taken for such.
        self._cleared = trio.Event()
        self._nursery: trio.Nursery

    async def hold(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the runs' tasks; first end what a killed server left. Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await self._end_leftovers()
            self._cleared.set()
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
        await self._cleared.wait()
        await self._make_way(manifest.id)
        run = self._runs[manifest.id] = DevRun(self._facilities, directory, manifest, watch=watch)
        self._nursery.start_soon(self._keep, run)
        try:
            await run.up()
        except trio.Cancelled:
            run.stop()
            raise
        return run

    def list(self) -> list[DevView]:
        return sorted((view_of(run) for run in self._runs.values()), key=lambda view: view.id)

    async def logs(self, formation_id: str) -> tuple[LogFiles, trio.Event]:
        """Return where a run's output is, also the last one's, and what is set once it has ended.

        Raises NotFound.
        """
        files = dev_logs(self._facilities, formation_id)
        run = self._runs.get(formation_id)
        if run is not None:
            return files, run.ended
        if id_problem(formation_id) or not await trio.to_thread.run_sync(files.stdout.exists):
            raise _not_running(formation_id)
        ended = trio.Event()
        ended.set()
        return files, ended

    async def stop(self, formation_id: str) -> None:
        """End a run and leave nothing of it. Raises NotFound."""
        run = self._runs.get(formation_id)
        if run is None:
            raise _not_running(formation_id)
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

    async def _keep(self, run: DevRun) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(formation_id=run.id)
        try:
            await run.run()
        except Exception:
            # What breaks in one run must not reach the others.
            log.exception("development run broke")
        finally:
            if self._runs.get(run.id) is run:
                del self._runs[run.id]

    async def _end_leftovers(self) -> None:
        for mark in await trio.to_thread.run_sync(_marks, self._facilities.dev_dir):
            entry = await trio.to_thread.run_sync(_entry, mark)
            if entry is not None:
                await end_process(self._facilities, entry)
            try:
                await trio.to_thread.run_sync(partial(mark.unlink, missing_ok=True))
                await trio.to_thread.run_sync(remove_tree, mark.with_suffix(""))
            except OSError as error:  # the next start tries again
                log.warning("development run not cleared away", mark=str(mark), reason=error.strerror)


def _marks(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.json")) if directory.is_dir() else []


def _entry(mark: Path) -> ProcessRecord | None:
    try:
        return msgspec.json.decode(mark.read_bytes(), type=ProcessRecord)
    except (OSError, msgspec.MsgspecError):
        return None


def _not_running(formation_id: str) -> NotFound:
    return NotFound(
        f"No draft of formation '{formation_id}' is running.",
        code="DraftNotRunning",
        cure="See with `muxi-server formation list` what runs.",
    )


def _running(run: DevRun) -> Conflict:
    return Conflict(
        f"Formation '{run.id}' is already running on port {run.port}. Run 'muxi down' first.",
        code="AlreadyRunning",
    )
