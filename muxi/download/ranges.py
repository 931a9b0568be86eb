"""Going on where a download was cut off (RFC 9110, 13.1.5 and 14): what to ask, what answers mean. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from muxi.download.failure import Interrupted

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15}|\*)", re.ASCII)
_LENGTH = re.compile(r"\d{1,15}", re.ASCII)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Of what file a part is: where it comes from (as `shown`), and how the server knows this state of it.

    `synced` is how many bytes of it are surely on the disk.
    """

    url: str
    etag: str = ""
    modified: str = ""
    size: int | None = None
    synced: int = 0

    @property
    def validator(self) -> str:
        """What If-Range may say; "" if the server has given nothing that a part can be told by."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


@dataclass(frozen=True, slots=True)
class Body:
    """What comes: bytes from `start` on, of `total` in the whole (None: not said)."""

    start: int
    total: int | None
    origin: Origin


class Changed(Interrupted):
    """The part that is here is none of what the server has now."""


def range_fields(origin: Origin | None, offset: int, *, verified: bool) -> dict[str, str]:
    """Return the fields that ask for the rest; none if only the whole will do.

    `verified`: the whole will be checked by a hash, so that a part may go on without a validator.
    """
    if origin is None or not offset or not (origin.validator or verified):
        return {}
    condition = {"If-Range": origin.validator} if origin.validator else {}
    return {"Range": f"bytes={offset}-", **condition}


def read_answer(
    url: str, status: int, fields: Mapping[str, str], origin: Origin | None, offset: int
) -> Body | None:
    """Say what the body of an answer 200, 206 or 416 is; None: all of it is here already.

    `fields` by lower-case names. Raises Changed where the part can't be gone on with, and
    Interrupted for what makes no sense.
    """
    if fields.get("content-encoding", "identity").lower() != "identity":
        raise Interrupted("the server sent it in an encoding that was not asked for")
    if status == 416:
        _require_whole(fields, origin, offset)
        return None
    now = Origin(url=url, etag=fields.get("etag", ""), modified=fields.get("last-modified", ""), size=None)
    if status == 200:
        total = _length(fields)
        return Body(0, total, msgspec.structs.replace(now, size=total))
    return _rest(fields, origin, offset)


def length_of(status: int, fields: Mapping[str, str]) -> int | None:
    """Return how long the file is of which a first piece was asked for; None where that is not said."""
    if status == 200:
        return _length(fields)
    found = _CONTENT_RANGE.fullmatch(fields.get("content-range", ""))
    return int(found[3]) if found is not None and found[3] != "*" else None


def _rest(fields: Mapping[str, str], origin: Origin | None, offset: int) -> Body:
    found = _CONTENT_RANGE.fullmatch(fields.get("content-range", ""))
    if found is None or found[1] is None or origin is None:
        raise Changed("the server sent a part that was not asked for")
    total = origin.size if found[3] == "*" else int(found[3])
    if int(found[1]) != offset or (origin.size is not None and total != origin.size):
        raise Changed("the file has another length than before")
    etag = fields.get("etag", "")
    if etag and origin.etag and etag != origin.etag:
        raise Changed("the file has changed on the server")
    if total is not None and int(found[2]) != total - 1:
        raise Changed("the server sent another part than was asked for")
    length = _length(fields)
    if length is not None and length != int(found[2]) - int(found[1]) + 1:
        raise Changed("the server contradicts itself about the length")
    return Body(offset, total, msgspec.structs.replace(origin, size=total))


def _require_whole(fields: Mapping[str, str], origin: Origin | None, offset: int) -> None:
    found = _CONTENT_RANGE.fullmatch(fields.get("content-range", ""))
    whole = int(found[3]) if found is not None and found[3] != "*" else None
    if whole != offset or origin is None or origin.size not in {None, whole}:
        raise Changed("the server has nothing after what is here")


def _length(fields: Mapping[str, str]) -> int | None:
    """Return the length of a body; None where it is told by chunks."""
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return None
    text = fields.get("content-length", "")
    return int(text) if _LENGTH.fullmatch(text) else None
