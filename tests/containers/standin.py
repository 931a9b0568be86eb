"""An engine that only speaks as one: answers as Docker 20.10 gives them, containers made of nothing."""

from __future__ import annotations

import json
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import h11
import trio

from muxi.containers.address import Address
from muxi.containers.engine import Engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NEVER = "0001-01-01T00:00:00Z"


@dataclass(eq=False)
class Box:
    """A container. What it says has the times 1, 2, 3… seconds."""

    id: str
    name: str
    body: dict[str, Any]
    status: str = "created"
    exit_code: int = 0
    oom: bool = False
    said: list[tuple[int, str]] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)
    stubborn: bool = False

    def say(self, line: str, stream: int = 1) -> None:
        self.said.append((stream, line))
        self._tell()

    def exit(self, code: int, *, oom: bool = False) -> None:
        self.status, self.exit_code, self.oom = "exited", code, oom
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def facts(self) -> dict[str, Any]:
        bindings = self.body["HostConfig"]["PortBindings"] if self.status == "running" else {}
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "State": {
                "Status": self.status,
                "Running": self.status == "running",
                "OOMKilled": self.oom,
                "Pid": 4711 if self.status == "running" else 0,
                "ExitCode": self.exit_code,
                "Error": "",
                "StartedAt": NEVER if self.status == "created" else "2026-11-25T16:49:05.5Z",
                "FinishedAt": "2026-11-25T16:50:05.5Z" if self.status == "exited" else NEVER,
            },
            "Config": {"Labels": self.body["Labels"], "StopSignal": "SIGQUIT"},
            "NetworkSettings": {"Ports": bindings},
        }

    def frame(self, index: int) -> bytes:
        stream, line = self.said[index]
        payload = f"1970-01-01T00:00:{index + 1:02}.000000000Z {line}\n".encode()
        return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


class StandIn:
    """Serves on a Unix socket. `fail` are answers to give instead: by method and the path's last part."""

    def __init__(self, socket: Path) -> None:
        self.address = Address(socket)
        self.api = ("1.41", "1.12")
        self.images: dict[str, dict[str, Any]] = {}
        self.registry: dict[str, list[dict[str, Any]]] = {}
        self.boxes: dict[str, Box] = {}
        self.seen: list[str] = []
        self.fail: dict[str, tuple[int, str]] = {}
        self.silent: set[str] = set()
        self.security = ["name=seccomp,profile=default"]
        self.here = trio.CancelScope()

    @property
    def engine(self) -> Engine:
        return Engine(lambda: self.address)

    @property
    def box(self) -> Box:
        (one,) = self.boxes.values()
        return one

    def add_image(self, name: str, **config: Any) -> str:
        digest = f"sha256:{secrets.token_hex(32)}"
        self.images[name] = self.images[digest] = {"Id": digest, "RepoDigests": [], "Config": config}
        return digest

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[StandIn]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._serve)
            yield self
            nursery.cancel_scope.cancel()

    async def go_away(self) -> None:
        """Be an engine that is killed: its connections break, its socket stays."""
        self.here.cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def _serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        path = self.address.socket
        assert path is not None
        path.unlink(missing_ok=True)
        with trio.socket.socket(trio.socket.AF_UNIX) as sock:
            await sock.bind(str(path))
            sock.listen(64)
            self.here = trio.CancelScope()
            with self.here:
                task_status.started()
                await trio.serve_listeners(self._connection, [trio.SocketListener(sock)])

    async def come_back(self, nursery: trio.Nursery) -> None:
        await nursery.start(self._serve)

    async def _connection(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection, body = h11.Connection(h11.SERVER), b""
            request: h11.Request | None = None
            try:
                while True:
                    event = connection.next_event()
                    if event is h11.NEED_DATA:
                        connection.receive_data(await stream.receive_some(65536))
                    elif isinstance(event, h11.Request):
                        request = event
                    elif isinstance(event, h11.Data):
                        body += event.data
                    elif isinstance(event, h11.EndOfMessage):
                        break
                    else:
                        return
                assert request is not None
                await Answer(self, connection, stream).give(request, body)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


class Answer:
    """The answer to one request."""

    def __init__(self, engine: StandIn, connection: h11.Connection, stream: trio.SocketStream) -> None:
        self._engine, self._connection, self._stream = engine, connection, stream

    async def give(self, request: h11.Request, body: bytes) -> None:
        url = urlsplit(request.target.decode())
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        parts = [part for part in url.path.split("/") if part]
        if parts and parts[0].startswith("v1."):
            parts.pop(0)
        method = request.method.decode()
        key = f"{method} {parts[-1]}"
        self._engine.seen.append(f"{method} /{'/'.join(parts)}")
        if key in self._engine.silent:
            await trio.sleep_forever()
        if key in self._engine.fail:
            status, message = self._engine.fail[key]
            return await self._json({"message": message}, status)
        name = f"_{method.lower()}_{parts[0]}"
        await getattr(self, name)(parts[1:], query, body)
        return None

    async def _get_version(self, *_: object) -> None:
        newest, least = self._engine.api
        await self._json({"Version": "20.10.24", "ApiVersion": newest, "MinAPIVersion": least})

    async def _get_info(self, *_: object) -> None:
        await self._json({"SecurityOptions": self._engine.security})

    async def _get_images(self, parts: list[str], *_: object) -> None:
        name = "/".join(parts[:-1])
        found = self._engine.images.get(name)
        await self._json(found or {"message": f"No such image: {name}"}, 200 if found else 404)

    async def _post_images(self, _parts: list[str], query: dict[str, str], _body: bytes) -> None:
        name = query["fromImage"]
        if name not in self._engine.registry:
            return await self._json({"message": f"manifest for {name} not found: manifest unknown"}, 404)
        await self._begin()
        for step in self._engine.registry[name]:
            await self._piece(json.dumps(step).encode() + b"\r\n")
        if not any("error" in step for step in self._engine.registry[name]):
            self._engine.add_image(name)
        return await self._end()

    async def _get_containers(self, parts: list[str], query: dict[str, str], body: bytes) -> None:
        if parts == ["json"]:
            wanted = json.loads(query["filters"])["label"]
            return await self._json(
                [
                    {"Id": box.id, "Labels": box.body["Labels"], "State": box.status}
                    for box in self._engine.boxes.values()
                    if all(f"{k}={v}" in wanted for k, v in box.body["Labels"].items() if k.endswith("token"))
                ]
            )
        box = self._engine.boxes.get(parts[0])
        if box is None:
            return await self._no_such(parts[0])
        if parts[1] == "json":
            return await self._json(box.facts())
        if parts[1] == "stats":
            return await self._json(
                {
                    "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}},
                    "memory_stats": {"usage": 9 << 20, "stats": {"total_inactive_file": 1 << 20}},
                    "pids_stats": {"current": 3},
                }
            )
        return await self._logs(box, query)

    async def _logs(self, box: Box, query: dict[str, str]) -> None:
        await self._begin("application/vnd.docker.raw-stream")
        sent = max(0, int(float(query["since"])) - 1)
        while True:
            while sent < len(box.said):
                await self._piece(box.frame(sent))
                sent += 1
            if "follow" not in query or box.status != "running":
                break
            await box.changed.wait()
        await self._end()

    async def _post_containers(self, parts: list[str], query: dict[str, str], body: bytes) -> None:
        if parts == ["create"]:
            box = Box(secrets.token_hex(32), query["name"], json.loads(body))
            self._engine.boxes[box.id] = box
            return await self._json({"Id": box.id, "Warnings": []}, 201)
        box_or_none = self._engine.boxes.get(parts[0])
        if box_or_none is None:
            return await self._no_such(parts[0])
        box = box_or_none
        if parts[1] == "start":
            box.status = "running"
        elif parts[1] == "wait":
            await self._begin("application/json")
            while box.status == "running":
                await box.changed.wait()
            await self._piece(json.dumps({"StatusCode": box.exit_code}).encode())
            return await self._end()
        elif box.status != "running":
            return await self._json({"message": f"Container {box.id} is not running"}, 409)
        elif parts[1] in {"kill", "stop"}:
            box.signals.append(query.get("signal", "stop"))
            if not box.stubborn or box.signals[-1] == "SIGKILL":
                box.exit(137 if box.signals[-1] == "SIGKILL" else 0)
        return await self._empty()

    async def _delete_containers(self, parts: list[str], *_: object) -> None:
        found = [box for box in self._engine.boxes.values() if parts[0] in {box.id, box.name}]
        if not found:
            return await self._no_such(parts[0])
        del self._engine.boxes[found[0].id]
        return await self._empty()

    async def _no_such(self, name: str) -> None:
        await self._json({"message": f"No such container: {name}"}, 404)

    async def _json(self, content: object, status: int = 200) -> None:
        data = json.dumps(content).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        await self._send(h11.Response(status_code=status, headers=headers))
        await self._piece(data)
        await self._end()

    async def _empty(self) -> None:
        await self._send(h11.Response(status_code=204, headers=[]))
        await self._end()

    async def _begin(self, kind: str = "application/json") -> None:
        headers = [("Content-Type", kind), ("Transfer-Encoding", "chunked")]
        await self._send(h11.Response(status_code=200, headers=headers))

    async def _piece(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def _end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self._connection.send(event)
        if data:
            await self._stream.send_all(data)
