"""Where a bundle comes from when it isn't the request's own body: a JSON object that names or holds it."""

from __future__ import annotations

import base64
import binascii
import io
import os
import stat
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import trio

from muxi.errors import Unprocessable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_READ = 256 * 1024
_FIELDS = ("id", "formation_id", "version", "bundle_path", "bundle")


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What the Python and TypeScript SDKs send: exactly one of a path on this machine and base64."""

    formation_id: str | None
    version: str | None
    bundle_path: str | None
    bundle: str | None

    @classmethod
    def parse(cls, content: Mapping[str, object]) -> BundleRequest:
        """Check names and types: a number in `bundle_path` must not become a file descriptor.

        Raises Unprocessable.
        """
        unknown = sorted(set(content) - set(_FIELDS))
        if unknown:
            raise _unprocessable("The body has a field that is not known here.")
        for name, value in content.items():
            if value is not None and not (isinstance(value, str) and value):
                raise _unprocessable(f"`{name}` must be a text that isn't empty.")
        texts = {name: value for name, value in content.items() if isinstance(value, str)}
        if ("bundle_path" in texts) == ("bundle" in texts):
            raise _unprocessable("The body must have one of `bundle_path` and `bundle`.")
        if texts.get("id", texts.get("formation_id")) != texts.get("formation_id", texts.get("id")):
            raise _unprocessable("`id` and `formation_id` differ.")
        return cls(
            texts.get("id") or texts.get("formation_id"),
            texts.get("version"),
            texts.get("bundle_path"),
            texts.get("bundle"),
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the bundle's bytes piece by piece. Raises Unprocessable when they can't be had."""
        file = await trio.to_thread.run_sync(self._open)
        try:
            yield _Chunks(file)
        finally:
            file.close()

    def _open(self) -> BinaryIO:
        if self.bundle_path is not None:
            return _open_file(self.bundle_path)
        try:
            return io.BytesIO(base64.b64decode(self.bundle or "", validate=True))
        except (binascii.Error, ValueError):
            raise _unprocessable("`bundle` is not base64.") from None


class _Chunks:
    """A file's content, read in threads."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await trio.to_thread.run_sync(self._file.read, _READ)
        except OSError as error:
            raise _unreadable(error.strerror) from None
        if not data:
            raise StopAsyncIteration
        return data


def _open_file(text: str) -> BinaryIO:
    """Open a regular file by its absolute path; a pipe or device of that name is never waited for."""
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise _unprocessable("`bundle_path` must be an absolute path on the server's machine.")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise _unreadable(getattr(error, "strerror", None)) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _unreadable("it isn't a regular file")
    return os.fdopen(fd, "rb")


def _unreadable(reason: str | None) -> Unprocessable:
    return _unprocessable(f"The file that `bundle_path` names can't be read: {reason or 'no such name'}.")


def _unprocessable(message: str) -> Unprocessable:
    return Unprocessable(
        message,
        code="InvalidPayload",
        cure="Send {bundle_path: an absolute path on the server's machine} or {bundle: base64 of the "
        "tar.gz}, with `version` if you like; or send the tar.gz itself as application/gzip.",
    )
