"""The task that keeps the code runner running, as the settings say, beside the formations.

It is a process like a formation's: supervised, limited, logged, restarted by the same policy, and
adopted by the next server. What is in its way is told, and looked at again; formations are started
without it meanwhile. A stretch under the same settings is an *era*: other settings, or the server's
end, end it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
import trio

from muxi.errors import MuxiError, StorageError
from muxi.files import PRIVATE_DIRECTORY
from muxi.process import listeners, ports
from muxi.rce.image_file import image_file_spec
from muxi.rce.program import command_program, image_program
from muxi.rce.reach import LOOPBACK, exposed_on, url_for
from muxi.rce.record import hash_of
from muxi.rce.run import RunnerRun
from muxi.rce.settings import PROCESS_ID
from muxi.rce.way import Way, choose_way
from muxi.runtime.choice import APPTAINER, DOCKER
from muxi.runtime.pin import Pin
from muxi.runtime.runtime import Prepared, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.rce.house import House
    from muxi.rce.record import RecordFile, RunnerRecord
    from muxi.rce.settings import RceSettings

log = structlog.get_logger()

RETRY_SECONDS: Final = 60.0
"""The pause after which what was in its way is looked at again."""
DECIDE_SECONDS: Final = 5.0
"""How long the server's start waits at most for what formations are told."""
MOST_PORTS: Final = 50
"""How many ports are tried, from the configured one up."""


class Sidecar:
    """One code runner, or none. Everything happens in `run`; the rest tells it, or asks."""

    def __init__(self, settings: RceSettings, house: House, file: RecordFile) -> None:
        self._settings = settings
        self._house = house
        self._file = file
        #: How it is run, and on which port, once that is known and while it can be had.
        self._way: Way | None = None
        self._port = 0
        self._run: RunnerRun | None = None
        self._problem: MuxiError | None = None
        self._exposed: list[str] = []
        self._closing = self._letting_go = False
        self._nursery: trio.Nursery
        self._era = trio.CancelScope()
        self._decided = trio.Event()
        self._ended = trio.Event()

    # What others ask of it

    def variables(self, runtime: str) -> Mapping[str, str]:
        """Return what a formation on this runtime is told of it; nothing while there is none to be had."""
        if self._way is None:
            return {}
        return {"MUXI_RCE_URL": url_for(runtime, self._port), "MUXI_RCE_TOKEN": self._way.settings.token}

    def status(self) -> dict[str, object]:
        """Tell how it stands. Never its token."""
        instance = None if self._run is None else self._run.instance
        found: dict[str, object] = {"state": self._state(), "reason": self._reason()}
        if self._way is not None:
            found |= {"runs": self._way.description, "url": f"http://{LOOPBACK}:{self._port}"}
        if instance is None:
            return found
        usage = self._house.usage(instance)
        return found | {
            "healthy": instance.healthy,
            "pid": instance.pid or 0,
            "uptime": 0 if instance.started_at is None else int(time.time() - instance.started_at),
            "restart_count": instance.restart_count,
            "memory": 0 if usage is None else usage.memory,
            "exposed_on": list(self._exposed),
        }

    def configure(self, settings: RceSettings) -> None:
        """Go by other settings: the process is ended, and one as they say is started, if any."""
        if settings != self._settings:
            self._settings = settings
            self._era.cancel()

    async def shut_down(self) -> None:
        """End it; returns when nothing is left of it."""
        self._closing = True
        self._era.cancel()
        await self._ended.wait()

    async def detach(self) -> None:
        """Let it go: it runs on, for the next server."""
        self._letting_go = True
        await self.shut_down()

    def _state(self) -> str:
        if not self._settings.token:
            return "off"
        if self._run is not None:
            return str(self._run.instance.state)
        return "unavailable" if self._problem is not None else "preparing"

    def _reason(self) -> str | None:
        if not self._settings.token:
            return "rce.auth_token is not set"
        if self._run is None:
            return (
                None
                if self._problem is None
                else f"{self._problem.message} {self._problem.cure or ''}".strip()
            )
        if self._exposed and not self._run.instance.reason:
            return (
                f"it listens on {', '.join(self._exposed)}: keep others from port {self._port} by a firewall"
            )
        return self._run.instance.reason

    # The task

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep it until told to end. Started once it is known what formations are told of it, or soon.

        Cancelling it kills the process, unless that has been let go.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._file.run)
                nursery.start_soon(self._live)
                with trio.move_on_after(DECIDE_SECONDS):
                    await self._decided.wait()
                task_status.started()
        finally:
            self._ended.set()

    async def _live(self) -> None:
        while not self._closing:
            self._problem = None
            with trio.CancelScope() as self._era:
                await self._keep()
            self._way = None
            if self._run is not None:
                await self._run.end(let_go=self._letting_go)
            self._run, self._exposed = None, []
        self._decided.set()
        try:
            if not self._letting_go:  # the server ends before it came to that
                await self._end_leftover()
            await self._file.flush()
        except MuxiError as error:
            log.warning("code runner not ended in good order", error=error.message)
        self._nursery.cancel_scope.cancel()

    async def _keep(self) -> None:
        """Bring it up; when that can't be done, say why, and try again later. Ends with its era only."""
        while True:
            try:
                await self._bring_up()
                self._problem = None
                await trio.sleep_forever()
            except MuxiError as error:
                if self._problem is None or error.message != self._problem.message:
                    log.warning("no code runner", reason=error.message, cure=error.cure)
                self._problem = error
            except Exception:
                log.exception("code runner broke")  # it must not reach the formations
            self._way = None
            self._decided.set()
            await trio.sleep(RETRY_SECONDS)

    async def _bring_up(self) -> None:
        settings, house = self._settings, self._house
        if not settings.token:
            await self._end_leftover()
            self._decided.set()
            return
        try:
            way = await self._choose_way()
        except MuxiError:
            await self._end_leftover()
            raise
        left = self._left_by_another(way)
        if left is None:
            await self._end_leftover()
        self._port = self._choose_port(left)
        self._way = way
        self._decided.set()
        await trio.to_thread.run_sync(make_directories, settings)
        way, prepared = await self._prepare(way, left)
        run = RunnerRun(house, self._file, way, prepared, port=self._port, on_ready=self._became_ready)
        if left is None or not await run.go_on(self._nursery, left.process):
            await self._end_leftover()
            run.start(self._nursery)
        self._way, self._run = way, run

    def _left_by_another(self, way: Way) -> RunnerRecord | None:
        """Return the record of an earlier server's process, if that is what is asked for now."""
        record = self._file.record
        if record is None or not record.process.started_at:  # only the mark was written
            return None
        if record.asked != hash_of(way, record.process.token_sha256):
            return None
        return record

    def _choose_port(self, left: RunnerRecord | None) -> int:
        """Take the port of the process that is there, else the first free one from the configured one up."""
        pool, wanted = self._house.ports, self._settings.port
        pool.release(PROCESS_ID)
        tried = range(wanted, min(wanted + MOST_PORTS, 65536)) if left is None else (left.process.port,)
        for port in tried:
            free = left is not None or ports.is_free(LOOPBACK, port)
            inside = pool.start <= port < pool.end
            if free and (not inside or pool.reserve(PROCESS_ID, port, in_use=True)):
                return port
        return wanted

    async def _prepare(self, way: Way, left: RunnerRecord | None) -> tuple[Way, Prepared]:
        """Have at hand what it is run from, which may take long; return the way with what was found."""
        settings, house = way.settings, self._house
        if way.engine is not None:
            sif = way.sif or await house.images.ensure(_report)
            spec = partial(image_file_spec, settings, way.engine, sif)
            pin = Pin(runtime=APPTAINER, version=str(way.engine))
            return replace(way, sif=sif), Prepared(pin=pin, description=way.description, spec=spec)
        program = command_program(settings, self._port) if settings.command else image_program(settings)
        request = Request(
            program=program,
            release_dir=settings.home,
            state_dir=settings.cache,
            pin=None if left is None else left.pin,
            report=_report,
        )
        return way, await house.runtimes.prepare(request)

    async def _choose_way(self) -> Way:
        settings, house = self._settings, self._house
        if settings.command:
            return Way(settings)
        docker = (await house.runtimes.presences()).get(DOCKER)
        engine, sif = await house.engines.find(), await house.images.installed()
        return choose_way(settings, engine, sif, docker, may_download=house.may_download())

    async def _end_leftover(self) -> None:
        record = self._file.record
        if record is None:
            return
        if not await self._house.end_left(record.process):
            log.warning("leftover of the code runner not ended", pid=record.process.pid)
        self._file.put(None)

    def _became_ready(self) -> None:
        self._nursery.start_soon(self._see_exposure)

    async def _see_exposure(self) -> None:
        """See whether others than this machine may reach it: it has no setting for where it listens."""
        exposed = exposed_on(await trio.to_thread.run_sync(listeners.addresses, self._port))
        if exposed and not self._exposed:
            cure = f"keep others from port {self._port} by a firewall, or run it in a container"
            log.warning("code runner can be reached from outside", listens_on=exposed, cure=cure)
        self._exposed = exposed


def make_directories(settings: RceSettings) -> None:
    """Make what it writes to (blocking). Raises StorageError."""
    try:
        for directory in (settings.cache, settings.home / "engine"):
            directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"Could not make {error.filename}: {error.strerror}.",
            cure="Make rce.data_dir writable for the server.",
        ) from error


def _report(stage: str, message: str, **_fields: object) -> None:
    log.info("code runner", stage=stage, message=message)
