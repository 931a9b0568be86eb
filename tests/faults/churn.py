"""Somebody who manages a formation all the time: deploys, stops, starts, restarts, deletes it."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Self

import httpx

from tests.integration.outside import recorder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.live import LiveServer

ID = "churned"
ACTIONS = ("deploy", "stop", "start", "restart", "delete")
#: What is answered in good order: done, or not possible in the state in which it is.
EXPECTED = frozenset({200, 201, 202, 404, 409, 503})


class Churn:
    """Orders at random, from a seed, to whichever server is there; unexpected answers are kept."""

    def __init__(self, seed: int, env: Mapping[str, str]) -> None:
        self._random = random.Random(seed)
        self._packed = recorder(ID, env=dict(env))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._server: LiveServer | None = None
        self.done = 0
        self.surprises: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def turn_to(self, server: LiveServer | None) -> None:
        """Give orders to this server from now on; None: to nobody."""
        self._server = server

    def _run(self) -> None:
        while not self._over.is_set():
            server = self._server
            if server is not None:
                self._order(server, self._random.choice(ACTIONS))
            time.sleep(0.01)

    def _order(self, server: LiveServer, action: str) -> None:
        try:
            with httpx.Client(timeout=30, trust_env=False, verify=False) as client:
                answer = self._send(client, server, action)
        except httpx.HTTPError:
            return  # The server was killed meanwhile: that is what this is for.
        self.done += answer.status_code < 300
        if answer.status_code not in EXPECTED:
            self.surprises.append(f"{action}: {answer.status_code} {answer.text}")

    def _send(self, client: httpx.Client, server: LiveServer, action: str) -> httpx.Response:
        path = "/rpc/formations" if action == "deploy" else f"/rpc/formations/{ID}"
        if action == "deploy":
            headers = {"Content-Type": "application/gzip", "X-Formation-ID": ID}
            return client.post(
                server.url + path, content=self._packed, headers={**headers, **server.signed("POST", path)}
            )
        if action == "delete":
            return client.delete(server.url + path, headers=server.signed("DELETE", path))
        path += f"/{action}"
        return client.post(server.url + path, headers=server.signed("POST", path))
