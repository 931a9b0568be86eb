"""What is sent to a draft's route and what comes back (http-api.md 1.6). Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.formation.drafts import DraftMeta
    from muxi.formation.inside import Entry
    from muxi.formation.releases import Release

ACTIONS = ("init", "list", "read", "write", "delete", "deploy", "discard")
MODES = ("new", "clone")


@dataclass(frozen=True, slots=True)
class DraftRequest:
    """What the body says; an empty text is as good as none.

    `require_base` (ours) refuses a deploy when another release is live than the draft was made of.
    """

    action: str
    mode: str = ""
    path: str = ""
    content: str = ""
    encoding: str = "utf-8"
    require_base: bool = False

    @classmethod
    def parse(cls, content: Mapping[str, object]) -> DraftRequest:
        """Check names and types; a null is as good as nothing. Raises RequestError."""
        texts: dict[str, str] = {}
        for name in ("action", "mode", "path", "content", "encoding"):
            value = content.get(name)
            if value is not None and not isinstance(value, str):
                raise RequestError(f"`{name}` must be a text.", code="InvalidJSON", cure="Send it as a text.")
            if value:
                texts[name] = value
        action = texts.get("action", "")
        if action not in ACTIONS:
            raise RequestError(
                f"Invalid action. Must be one of: {', '.join(ACTIONS)}",
                code="InvalidAction",
                cure="Send one of those as `action`.",
            )
        required = content.get("require_base")
        if required is not None and not isinstance(required, bool):
            raise RequestError("`require_base` must be true or false.", code="InvalidJSON")
        return cls(**{**texts, "action": action}, require_base=bool(required))


def draft_state(meta: DraftMeta | None, live: Release | None) -> dict[str, object]:
    if meta is None:
        return {"exists": False}
    state: dict[str, object] = {"exists": True}
    if meta.base_version is not None:
        state["base_version"] = meta.base_version
    if meta.created_at is not None:
        state["created_at"] = meta.created_at
    if meta.drifted(live):
        state["drifted"] = True
    return state


def entry_object(entry: Entry) -> dict[str, object]:
    if entry.kind == "dir":
        return {"name": f"{entry.name}/", "type": "dir"}
    return {"name": entry.name, "type": entry.kind} | ({} if entry.size is None else {"size": entry.size})


def encoded(data: bytes, encoding: str) -> str:
    if encoding == "base64":
        return base64.b64encode(data).decode()
    _check_encoding(encoding)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise RequestError(
            "The file is not text in UTF-8.", code="DecodeError", cure="Read it with encoding: base64."
        ) from None


def decoded(content: str, encoding: str) -> bytes:
    try:
        if encoding == "base64":
            return base64.b64decode(content, validate=True)
        _check_encoding(encoding)
        return content.encode()
    except (binascii.Error, ValueError):
        raise RequestError(
            f"`content` is not {encoding}.", code="DecodeError", cure="Encode it as `encoding` says."
        ) from None


def _check_encoding(encoding: str) -> None:
    if encoding != "utf-8":
        raise RequestError(
            "`encoding` must be utf-8 or base64.", code="DecodeError", cure="Send one of the two."
        )
