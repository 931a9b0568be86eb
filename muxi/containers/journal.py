"""How far a container's output has come into the formation's logs, so that nothing is lost or doubled.

The engine keeps the output with times; we copy it. For each stream a *place* tells how far: all
before a time, and so many pieces of that very time. In memory it is exact, so whoever asks the
engine anew goes on where it was. On disk it is written down now and then, with the position of
the log's end: a server that was killed may have copied more than it has written down, so the next
one looks behind that position for what the engine repeats (`muxi.containers.overlap`).

A torn line is a torn line whoever wrote it: one that was cut short by a kill is completed.
Everything here blocks; one caller, in threads.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from muxi.containers.overlap import Overlap
from muxi.files import PRIVATE_DIRECTORY
from muxi.process.log_reader import LogReader
from muxi.process.output import end_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.containers.frames import Entry

LOG_MODE = 0o640
SAVE_BYTES = 256 * 1024
"""After how many copied bytes the places are written down in any case."""
BLOCK = 256 * 1024
MOST_LOOKED_AT = 64 << 20


class Place(msgspec.Struct):
    """Nanoseconds, how many pieces of that time are copied, and where the log ended after them."""

    at: int
    pieces: int
    position: int


class Places(msgspec.Struct):
    """What is written down of a container: its two logs, the places, and where its output began."""

    logs: tuple[str, str]
    places: tuple[Place, Place]
    began: tuple[int, int]


class Journal:
    """Copies the output of one container; streams are 0 and 1. `path` is where the places are."""

    def __init__(self, path: Path, kept: Places) -> None:
        self.began = kept.began
        self._path = path
        self._kept = kept
        self._repeated = [0, 0]
        self._caught_up = [False, False]
        self._overlaps = [Overlap(b""), Overlap(b"")]
        self._waiting = [bytearray(), bytearray()]
        self._unsaved = 0

    @classmethod
    def begin(cls, path: Path, stdout: Path, stderr: Path, since: int = 0) -> Journal:
        """Begin at the logs' ends, and make both if they are not there. Raises OSError.

        `since`, in nanoseconds, is what output is left out: that before it.
        """
        for log in (stdout, stderr):
            log.parent.mkdir(parents=True, exist_ok=True)
            os.close(_open(str(log)))
        out, err = end_position(stdout), end_position(stderr)
        logs = str(stdout), str(stderr)
        journal = cls(path, Places(logs, (Place(since, 0, out), Place(since, 0, err)), (out, err)))
        journal.save()
        return journal

    @classmethod
    def resume(cls, path: Path) -> Journal | None:
        """Go on where an earlier server was; None where it has left no word. Raises OSError."""
        try:
            journal = cls(path, msgspec.json.decode(path.read_bytes(), type=Places))
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        journal._overlaps = [journal._behind(0), journal._behind(1)]
        return journal

    @property
    def since(self) -> int:
        """The time, in nanoseconds, from which on the engine is to be asked."""
        return min(place.at for place in self._kept.places)

    def ask_again(self) -> None:
        """Expect the output from `since` on: the engine is about to be asked."""
        self._repeated, self._caught_up = [0, 0], [False, False]

    def copy(self, entries: Sequence[Entry]) -> None:
        """Copy what is new of entries that came one after the other.

        Raises OSError; what could not be written is kept, and goes first with the next call.
        """
        for stream in (0, 1):
            fresh = [entry for entry in entries if entry.stderr == stream and self._is_new(stream, entry)]
            if fresh:
                self._take(stream, fresh)
        for stream in (0, 1):
            self._write(stream)
        if self._unsaved >= SAVE_BYTES:
            self.save_if_new()

    def save(self) -> None:
        """Write the places down. Raises OSError."""
        self._unsaved = 0
        for log, place in zip(self._kept.logs, self._kept.places, strict=True):
            place.position = end_position(Path(log))
        self._path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(self._kept))
        temporary.replace(self._path)  # not fsynced: after a power cut no container runs on

    def save_if_new(self) -> None:
        if self._unsaved and not any(self._waiting):
            self.save()

    def _is_new(self, stream: int, entry: Entry) -> bool:
        """Say whether an entry is behind the place. Once one is, all are: clocks may be set back."""
        place = self._kept.places[stream]
        if self._caught_up[stream]:
            return True
        if entry.at < place.at:
            return False
        if entry.at == place.at and self._repeated[stream] < place.pieces:
            self._repeated[stream] += 1
            return False
        self._caught_up[stream] = True
        return True

    def _take(self, stream: int, fresh: Sequence[Entry]) -> None:
        overlap = self._overlaps[stream]
        for entry in fresh:
            self._waiting[stream] += overlap.rest(entry.data)
        place, last = self._kept.places[stream], fresh[-1].at
        same = sum(entry.at == last for entry in fresh)
        place.pieces = same + (place.pieces if place.at == last else 0)
        place.at = last
        self._unsaved += 1

    def _write(self, stream: int) -> None:
        waiting = self._waiting[stream]
        if not waiting:
            return
        fd = _open(self._kept.logs[stream])
        try:
            while waiting:
                written = os.write(fd, waiting)
                del waiting[:written]
                self._unsaved += written
        finally:
            os.close(fd)

    def _behind(self, stream: int) -> Overlap:
        path = Path(self._kept.logs[stream])
        try:
            reader = LogReader(path)
        except FileNotFoundError:
            return Overlap(b"")
        try:
            position = max(self._kept.places[stream].position, reader.end - MOST_LOOKED_AT)
            found = bytearray()
            while True:
                began, block = reader.read(position, BLOCK)
                if not block:
                    return Overlap(bytes(found))
                found += block
                position = began + len(block)
        finally:
            reader.close()


def _open(log: str) -> int:
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, LOG_MODE)
