"""A management API on a fake fleet: everything real but the formations."""

from __future__ import annotations

import json
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from muxi.api.app import ApiApp, create_app
from muxi.api.audit import AuditLog
from muxi.api.parts import ApiParts, ApiSettings
from muxi.auth.credentials import KeyPair
from muxi.auth.keyring import Keyring
from muxi.auth.scheme import authorization_header
from muxi.config.model import Paths, defaults
from muxi.errors import Conflict, MuxiError, NotFound, RequestError
from muxi.formation.facilities import Facilities
from muxi.formation.operation import Kind, Operation
from muxi.formation.view import Counts, DevView, FormationView, LogFiles, PortUsage, VersionView
from muxi.registry.ports import PortPool
from muxi.registry.receipts import Receipts
from muxi.registry.routes import RouteTable
from muxi.registry.store import Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from hypercorn.typing import HTTPScope

    from muxi.config.model import Config
    from muxi.formation.upload import Upload
    from muxi.formation.wishes import RollbackWish, UpdateWish

KEY = "muxi_pk_" + "0123456789abcdef01234567"
SECRET = "muxi_sk_" + "fedcba98" * 7
NOW = 1_800_000_000.0
BUNDLE = b"\x1f\x8b not really a bundle"
GZIP = {"Content-Type": "application/gzip"}


def view(formation_id: str, status: str = "running", **fields: Any) -> FormationView:
    values: dict[str, Any] = {
        "id": formation_id,
        "name": formation_id.title(),
        "status": status,
        "port": 8001,
        "pid": 4711 if status == "running" else None,
        "uptime": 93,
        "restart_count": 0,
        "healthy": True if status == "running" else None,
        "version": VersionView("1.2.0", "9f" * 32),
        "created_at": NOW - 300,
        "deployed_at": NOW - 200,
        "updated_at": NOW - 100,
        "since": NOW - 93,
    }
    return FormationView(**(values | fields))


@dataclass
class FakeFleet:
    """Formations that are only told of. Operations end when the test says so, or at once by `results`."""

    directory: Path
    views: dict[str, FormationView] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    uploads: list[tuple[bytes, str, str | None]] = field(default_factory=list)
    wishes: list[UpdateWish | RollbackWish] = field(default_factory=list)
    results: dict[str, Mapping[str, object] | MuxiError] = field(default_factory=dict)
    refusal: BaseException | None = None
    upload_path: Path | None = None
    deleted: trio.Event = field(default_factory=trio.Event)
    restoring: trio.Event | None = None

    async def brought_back(self, formation_id: str) -> None:
        if self.restoring is not None:
            await self.restoring.wait()

    def list(self) -> Sequence[FormationView]:
        return list(self.views.values())

    def get(self, formation_id: str) -> FormationView:
        if formation_id not in self.views:
            raise NotFound("Formation not found")
        return self.views[formation_id]

    def deploy(self, upload: Upload, formation_id: str, version: str | None) -> Operation:
        self.upload_path = upload.path
        if self.refusal is not None:
            raise self.refusal
        self.uploads.append((upload.path.read_bytes(), formation_id, version))
        upload.path.unlink()
        return self._begin("deploy", formation_id)

    def update(self, upload: Upload, formation_id: str, wish: UpdateWish) -> Operation:
        self.upload_path = upload.path
        if self.refusal is not None:
            raise self.refusal
        self.uploads.append((upload.path.read_bytes(), formation_id, wish.version))
        self.wishes.append(wish)
        upload.path.unlink()
        return self._begin("update", self.get(formation_id).id)

    def update_draft(self, formation_id: str) -> Operation:
        return self._begin("update", self.get(formation_id).id)

    def rollback(self, formation_id: str, wish: RollbackWish) -> Operation:
        self.wishes.append(wish)
        return self._begin("rollback", self.get(formation_id).id)

    def cancel(self, formation_id: str) -> Operation:
        if self.refusal is not None:
            raise self.refusal
        for found in self.operations:
            if found.formation_id == formation_id and found.can_cancel:
                return found
        raise RequestError("No update in progress for this formation", code="NothingToCancel")

    def operation(self, formation_id: str, operation_id: str | None = None) -> Operation:
        for found in reversed(self.operations):
            if found.formation_id == formation_id and operation_id in {None, found.id}:
                return found
        raise NotFound("Operation not found")

    def deploy_draft(self, formation_id: str) -> Operation:
        return self._begin("deploy", formation_id)

    def start(self, formation_id: str) -> Operation:
        if self.get(formation_id).status in {"running", "starting"}:
            raise Conflict("Formation is already running")
        return self._begin("start", formation_id)

    def stop(self, formation_id: str) -> Operation:
        if self.get(formation_id).status == "stopped":
            raise Conflict("Formation is already stopped")
        return self._begin("stop", formation_id)

    def restart(self, formation_id: str) -> Operation:
        return self._begin("restart", self.get(formation_id).id)

    def delete(self, formation_id: str) -> Operation:
        return self._begin("delete", self.get(formation_id).id)

    def log_files(self, formation_id: str) -> LogFiles:
        self.get(formation_id)
        return LogFiles(
            self.directory / f"{formation_id}-out.log", self.directory / f"{formation_id}-err.log"
        )

    def deletion(self, formation_id: str) -> trio.Event:
        self.get(formation_id)
        return self.deleted

    def counts(self) -> Counts:
        statuses = [item.status for item in self.views.values()]
        return Counts(
            total=len(statuses),
            running=statuses.count("running"),
            stopped=statuses.count("stopped"),
            crashed=statuses.count("crashed"),
            healthy=sum(item.healthy is True for item in self.views.values()),
        )

    def ports(self) -> PortUsage:
        return PortUsage(8000, 9000, len(self.views))

    def _begin(self, kind: Kind, formation_id: str) -> Operation:
        if self.refusal is not None:
            raise self.refusal
        operation = Operation(kind, formation_id)
        self.operations.append(operation)
        result = self.results.get(kind)
        if isinstance(result, MuxiError):
            operation.progress("validating", "Validating…")
            operation.fail(result)
        elif result is not None:
            operation.progress("spawning", "Starting…", attempt=1)
            operation.succeed(result)
        return operation


@dataclass
class FakeRuns:
    """Directories that are said to run."""

    directory: Path
    views: list[DevView] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)
    asked: list[tuple[object, object, bool]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    refusal: MuxiError | None = None

    async def start(self, path: object, formation_id: object, *, watch: bool) -> FakeRun:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append((path, formation_id, watch))
        return FakeRun("a-bot", 8003)

    def list(self) -> Sequence[DevView]:
        return self.views

    async def logs(self, formation_id: str) -> tuple[LogFiles, trio.Event]:
        if self.refusal is not None:
            raise self.refusal
        directory = self.directory
        names = (f"{formation_id}.dev-out.log", f"{formation_id}.dev-err.log")
        return LogFiles(*(directory / name for name in names)), self.ended

    async def stop(self, formation_id: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.stopped.append(formation_id)


@dataclass(frozen=True)
class FakeRun:
    id: str
    port: int


@dataclass
class Api:
    """The app under test, and how the clients talk to it."""

    app: ApiApp
    fleet: FakeFleet
    dev: FakeRuns
    audit: AuditLog
    directory: Path
    facilities: Facilities

    def signature(self, method: str, path: str, *, at: float = NOW, secret: str = SECRET) -> str:
        return authorization_header(KEY, secret, method, path, int(at))

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        signed: bool = True,
    ) -> Answer:
        everything = dict(headers or {})
        if signed:
            everything.setdefault("Authorization", self.signature(method, path))
        scope = make_scope(method, path, everything)
        async with self.exchange(scope) as exchange:
            await exchange.send(data or b"", last=True)
            await exchange.ended.wait()
        return exchange.answer()

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, headers=headers)

    async def post(self, path: str, body: bytes = b"", /, **headers: str) -> Answer:
        return await self.call("POST", path, data=body, headers=headers)

    @asynccontextmanager
    async def exchange(self, scope: HTTPScope) -> AsyncIterator[Exchange]:
        """Run the app for one request as an ASGI server would; leaving the block leaves the server."""
        exchange = Exchange()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.app.parts.receipts.run)
            nursery.start_soon(exchange.run, self.app, scope)
            yield exchange
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def events(self, method: str, path: str, **headers: str) -> AsyncIterator[Exchange]:
        """Open an event stream and leave it at the end of the block."""
        headers = {"Accept": "text/event-stream", "Authorization": self.signature(method, path), **headers}
        async with self.exchange(make_scope(method, path, headers)) as exchange:
            await exchange.send(b"", last=True)
            yield exchange

    async def audited(self) -> list[dict[str, Any]]:
        """Write the audit log out and read it."""
        self.audit.close()
        await self.audit.run()
        if not self.audit.path.exists():
            return []
        return [json.loads(line) for line in self.audit.path.read_text().splitlines()]


class Exchange:
    """One request as seen by the ASGI server: messages in, messages out."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.started = trio.Event()
        self.ended = trio.Event()
        self._to_app, self._app_receives = trio.open_memory_channel[dict[str, Any]](0)
        self._chunks, self._received = trio.open_memory_channel[bytes](1000)

    async def run(self, app: ApiApp, scope: HTTPScope) -> None:
        try:
            await app(scope, self._app_receives.receive, self._from_app)  # type: ignore[arg-type]
        finally:
            self.ended.set()

    async def send(self, data: bytes, *, last: bool = False) -> None:
        await self._to_app.send({"type": "http.request", "body": data, "more_body": not last})

    async def leave(self) -> None:
        """Go away as a client does that closes its connection."""
        await self._to_app.send({"type": "http.disconnect"})
        await self.ended.wait()

    async def chunk(self) -> str:
        """Return the next piece of the answer's body."""
        return (await self._received.receive()).decode()

    async def event(self) -> tuple[str, dict[str, Any]]:
        """Return the next event's name and data; comments are passed over."""
        while (chunk := await self.chunk()).startswith(":"):
            pass
        return parse_events(chunk)[0]

    def answer(self) -> Answer:
        return Answer(self.status, self.headers, bytes(self.body))

    async def _from_app(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            self.started.set()
        elif message["body"]:
            self.body += message["body"]
            self._chunks.send_nowait(message["body"])
        await trio.lowlevel.checkpoint()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/json"
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def data(self) -> dict[str, Any]:
        assert self.json["success"] is True
        value: dict[str, Any] = self.json["data"]
        return value

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        assert self.headers["content-type"] == "text/event-stream"
        return parse_events(self.body.decode())


def parse_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Read events as strictly as the CLI: one `event:` line, exactly one `data:` line, a blank line."""
    assert text.endswith("\n\n")
    events = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        events.append((name[7:], json.loads(data[6:])))
    return events


def make_scope(method: str, target: str, headers: Mapping[str, str], path: str | None = None) -> HTTPScope:
    raw_path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.1"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": raw_path if path is None else path,
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"localhost:7890"),
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
        ],
        "client": ("192.0.2.7", 40000),
        "server": ("127.0.0.1", 7890),
        "state": {},  # type: ignore[typeddict-item]
        "extensions": {},
    }


def make_facilities(directory: Path, config: Config | None = None) -> Facilities:
    """Give the places of formations' files; ports and routes are the fake fleet's, and not used."""
    paths = Paths(*(directory / name for name in ("config", "data", "log", "cache", "config.yaml")))
    config = config or defaults(paths)
    config.formations.formations_dir.mkdir(parents=True, exist_ok=True)
    return Facilities(
        config=config,
        registry=Registry(directory / "registry.json"),
        ports=PortPool(8000, 9000),
        routes=RouteTable(),
        server_url="http://localhost:7890",
        search_path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
        restoring=trio.CapacityLimiter(1),
    )


def make_api(
    directory: Path,
    *views: FormationView,
    authenticated: bool = True,
    in_force: Mapping[str, str] | None = None,
    receipts: Receipts | None = None,
    config: Config | None = None,
    **settings: Any,
) -> Api:
    fleet = FakeFleet(directory, {item.id: item for item in views})
    dev = FakeRuns(directory)
    audit = AuditLog(directory / "logs" / "audit.log")
    values: dict[str, Any] = {
        "server_id": "server-test-00000000",
        "port": 7890,
        "runtime_type": "native",
        "upload_directory": directory / "tmp",
        "max_upload_size": 1 << 20,
        "known_keys": frozenset({KEY}),
    }
    facilities = make_facilities(directory, config)
    parts = ApiParts(
        fleet=fleet,
        dev=dev,
        authenticator=Keyring([KeyPair(KEY, SECRET)]) if authenticated else None,
        settings=ApiSettings(**(values | settings)),
        facilities=facilities,
        audit=audit,
        receipts=receipts or Receipts(directory / "receipts.json"),
        version="1.0.0",
        started_at=NOW - 3600,
        limits_in_force=lambda: in_force or {},
        now=lambda: NOW,
    )
    return Api(create_app(parts), fleet, dev, audit, directory, facilities)
