"""What is kept of each formation across restarts of the server, and its form on disk.

Never a value of a secret: a record names files and hashes, not environments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from muxi.errors import OperatorError
from muxi.registry.receipts import Receipt  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT_VERSION = 2
"""1 is the original's `registry.json`; ours holds other fields."""


class ProcessRecord(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """A process of a formation: by what the next server knows it as ours, and what it needs to go on with it.

    Written before the process is started, when nothing but its token is known, and again once it
    runs. `release` is the number of the release that it runs, 0 where an older server did not say;
    `state` what it was seen to be last. All of it together proves who it is (`muxi.process.identity`).
    `place` is where it runs, "" for this machine itself; in another place it has a `container` and no pid.
    """

    token_sha256: str
    release: int = 0
    port: int = 0
    pid: int = 0
    start_ticks: int = 0
    boot_id: str = ""
    started_at: float = 0.0
    state: str = "starting"
    place: str = ""
    container: str = ""


class FormationRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One formation. Times are Unix seconds.

    `previous_hash` is the bundle's of the release that a rollback goes to.
    `stopped` is what a person asked for: everything else runs again after a restart of the
    server. `process` is the one that requests go to; `other` is there while one is replaced: the
    one that is to come, or, once requests go to that, the one that is to go.
    """

    id: str
    name: str
    port: int
    semantic: str
    bundle_hash: str
    created_at: float
    deployed_at: float
    updated_at: float
    previous_hash: str = ""
    stopped: bool = False
    restart_count: int = 0
    process: ProcessRecord | None = None
    other: ProcessRecord | None = None


class RegistryFile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The whole of `registry.json`. `receipts` are for the requests that brought it to this state."""

    version: int
    saved_at: float
    formations: list[FormationRecord]
    receipts: list[Receipt] = []


class _Header(msgspec.Struct):
    version: int


def encode(records: list[FormationRecord], now: float, receipts: Sequence[Receipt] = ()) -> bytes:
    document = RegistryFile(version=FORMAT_VERSION, saved_at=now, formations=records, receipts=list(receipts))
    return msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=2) + b"\n"


def decode(data: bytes) -> RegistryFile:
    """Read `registry.json`. Raises ValueError when it is damaged, OperatorError when it is not ours."""
    version = msgspec.json.decode(data, type=_Header).version
    if version != FORMAT_VERSION:
        raise OperatorError(
            f"registry.json has format {version}; this version reads format {FORMAT_VERSION}.",
            cure="Start with a data directory of its own (MUXI_DATA_DIR); the file was left as it is.",
        )
    return msgspec.json.decode(data, type=RegistryFile)
