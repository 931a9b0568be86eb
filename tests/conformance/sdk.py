"""A client of the real Python SDK, living in a process of its own, called as if it were here."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVERS = Path(__file__).parent / "drivers"
DEADLINE = 60.0

Style = Literal["sync", "async"]
STYLES: tuple[Style, ...] = ("sync", "async")


@dataclass
class SdkError(Exception):
    """An exception that the SDK raised to its user: its class's name and its attributes."""

    type: str
    code: object
    message: str
    status_code: int
    details: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """A server-sent event as the SDK gives it, its data decoded."""

    name: str
    data: dict[str, Any]


class SdkClient:
    """A `ServerClient` or `FormationClient`, or its asynchronous twin."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self.reader.start()

    def call(self, method: str, *args: object, **kwargs: object) -> Any:
        """Return what the SDK's method returns; SdkError when it raises one of the SDK's own."""
        self._ask(method, args, kwargs, take=None)
        return self._next()["value"]

    def stream(self, method: str, *args: object, take: int = 0, **kwargs: object) -> Iterator[Event]:
        """Yield events as they come: `take` of them, then the stream is left; all of them for 0."""
        self._ask(method, args, kwargs, take=take)
        while "event" in (answer := self._next()):
            event = answer["event"]
            yield Event(event["event"], json.loads(event["data"]))

    def _ask(self, method: str, args: object, kwargs: object, *, take: int | None) -> None:
        call = {"method": method, "args": args, "kwargs": kwargs, "take": take}
        self._stdin.write(json.dumps(call) + "\n")
        self._stdin.flush()

    def _next(self) -> dict[str, Any]:
        answer = self._answers.get(timeout=DEADLINE)
        if "error" in answer:
            raise SdkError(**answer["error"])
        assert answer, "the driver has died; what it wrote on stderr says why"
        return answer

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._answers.put(json.loads(line))
        self._answers.put({})


@contextmanager
def driven(python: Path, style: Style, client: str, home: Path, **config: object) -> Iterator[SdkClient]:
    """Run the SDK's `client` (its asynchronous twin for "async") with this configuration."""
    driver = DRIVERS / ("sync.py" if style == "sync" else "asynchronous.py")
    name = client if style == "sync" else f"Async{client}"
    process = subprocess.Popen(
        [str(python), "-I", str(driver), json.dumps({"client": name, "config": config})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
        env={"HOME": str(home), "NO_PROXY": "*"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    sdk = SdkClient(process)
    try:
        yield sdk
    finally:
        process.stdin.close()
        try:
            process.wait(DEADLINE)
        finally:
            process.kill()
            process.wait()
            sdk.reader.join(DEADLINE)
            process.stdout.close()
