"""Clients that never stop asking, and write down when they were answered and when not."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

PAUSE = 0.02
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Lost:
    """A request that got no good answer. Times are those of `time.monotonic`."""

    path: str
    began: float
    ended: float
    why: str


@dataclass(slots=True)
class Outages:
    """The times during which no server was there, or none that had said that it listens."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    def begin(self, now: float) -> None:
        """Say that the server is about to be killed."""
        self.spans.append((now, float("inf")))

    def end(self, now: float) -> None:
        """Say that a server listens, again or for the first time."""
        if self.spans:
            self.spans[-1] = (self.spans[-1][0], now)

    def explains(self, lost: Lost) -> bool:
        """Say whether the request was under way while there was no server."""
        return any(lost.began <= end and lost.ended >= start for start, end in self.spans)


class Caller:
    """One client in a thread: asks for a path again and again until the end of the block."""

    def __init__(self, url: str, path: str) -> None:
        self._url = url
        self._path = path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answered = 0
        self.lost: list[Lost] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(2 * PATIENCE)

    def _run(self) -> None:
        for client in _clients():
            with client:
                while not self._over.is_set() and self._ask(client):
                    time.sleep(PAUSE)
            if self._over.is_set():
                return
            time.sleep(PAUSE)

    def _ask(self, client: httpx.Client) -> bool:
        began = time.monotonic()
        try:
            answer = client.get(self._url + self._path)
            why = "" if answer.status_code == 200 else f"{answer.status_code}: {answer.text}"
        except httpx.HTTPError as error:
            why = repr(error)
        if why:
            self.lost.append(Lost(self._path, began, time.monotonic(), why))
            return False
        self.answered += 1
        return True


def _clients() -> Iterator[httpx.Client]:
    while True:
        yield httpx.Client(timeout=PATIENCE, trust_env=False, verify=False)  # no TLS: its setup is slow
