"""What the main process and a worker say to each other.

Messages of one direction arrive in the order in which they were sent. `Take` and `Give` bring a
socket along. Times are seconds.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from muxi.proxy.limits import Limits  # noqa: TC001 - msgspec reads the types
from muxi.registry.routes import RoutePolicy  # noqa: TC001

Number = int | float


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One message. `brings`: a socket comes with it."""

    brings: ClassVar[bool] = False


class TlsFiles(msgspec.Struct, frozen=True, array_like=True):
    """Where the certificate and its key are; each process reads them itself."""

    cert: str
    key: str | None
    min_version: str


class Settings(msgspec.Struct, frozen=True, array_like=True):
    """What a worker goes by. `processes` share the limits that are divided; `log_output` as configured.

    `sdk_releases` are the newest ones that are known; None: SDKs are told nothing.
    """

    version: str
    processes: int
    limits: Limits
    trusted_proxies: tuple[str, ...] = ()
    proxy_protocol: bool = False
    tls: TlsFiles | None = None
    log_level: str = "info"
    log_format: str = "text"
    log_output: str = "stderr"
    sdk_releases: dict[str, str] | None = None


class Address(msgspec.Struct, frozen=True, array_like=True):
    """A target, by its number in the main process's table."""

    number: int
    host: str
    port: int


# From the main process


class Configure(Message, frozen=True):
    """The first message: begin. Later ones: go by other settings from now on."""

    settings: Settings


class Publish(Message, frozen=True):
    """A formation's route is this now. `update` numbers the changes of the table."""

    update: int
    formation_id: str
    draft: bool
    state: str
    target: Address | None
    policy: RoutePolicy
    returning: bool


class Withdraw(Message, frozen=True):
    """A formation is no more."""

    update: int
    formation_id: str
    draft: bool


class End(Message, frozen=True):
    """End what is under way to a target."""

    update: int
    number: int


class Take(Message, frozen=True):
    """Here is a client's connection, of which nothing has been read. `serial` is its name."""

    brings: ClassVar[bool] = True

    serial: int
    peer: str


class Retire(Message, frozen=True):
    """End each connection with its next answer, and tell which are busy."""


class Drain(Message, frozen=True):
    """End all connections within so many seconds, and then yourself."""

    budget: float
    settle: float


# From a worker


class Ready(Message, frozen=True):
    """Connections can come, as many as `connections` at once."""

    connections: int


class Taken(Message, frozen=True):
    """All connections up to this one are mine from now on."""

    serial: int


class Give(Message, frozen=True):
    """Here is a connection that is yours from now on: `data` has been read of it.

    Either the client's own, by its `serial`, or (0) one end of a pair, for one that must stay here.
    """

    brings: ClassVar[bool] = True

    serial: int
    peer: str
    scheme: bytes
    data: bytes


class Report(Message, frozen=True):
    """How things stand.

    `update` is the last change of the table that is in force. `closed` connections have ended.
    `targets`: (number, requests, streams, tunnels) under way, where that has changed. Only now and
    then: `traffic`, (id, draft, numbers), and `tally`, which are what has been added since (see
    `counts`), and `busy`, the connections with a request under way, told while retired.
    """

    update: int
    closed: tuple[int, ...] = ()
    targets: tuple[tuple[int, int, int, int], ...] = ()
    traffic: tuple[tuple[str, bool, tuple[Number, ...]], ...] = ()
    tally: tuple[int, ...] = ()
    busy: tuple[int, ...] | None = None


class Drained(Message, frozen=True):
    """All connections have ended, of which so many had to be cut. The last message."""

    cut: int


FromMain = Configure | Publish | Withdraw | End | Take | Retire | Drain
FromWorker = Ready | Taken | Give | Report | Drained

_ENCODER = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Write a message."""
    return _ENCODER.encode(message)


def main_decoder() -> msgspec.msgpack.Decoder[FromWorker]:
    """Make what reads the messages of workers. It raises msgspec.MsgspecError."""
    return msgspec.msgpack.Decoder(FromWorker)


def worker_decoder() -> msgspec.msgpack.Decoder[FromMain]:
    """Make what reads the messages of the main process."""
    return msgspec.msgpack.Decoder(FromMain)
