"""Which texts are formation ids. An id stands in paths, file names and process names as it is."""

from __future__ import annotations

import re

from muxi.errors import RequestError

MIN_LENGTH = 3
MAX_LENGTH = 50
RESERVED = frozenset(
    {"health", "ping", "rpc", "server", "admin", "metrics", "api", "draft", "mcp", "docs", "muxi-rce"}
)

_ID = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]", re.ASCII)


def id_problem(text: str) -> str | None:
    """Say what is wrong with an id, as the end of "formation ID …"; None when it is a good one."""
    if not text:
        return "cannot be empty"
    if not MIN_LENGTH <= len(text) <= MAX_LENGTH:
        return f"must be {MIN_LENGTH}-{MAX_LENGTH} characters"
    if text in RESERVED:
        return f"'{text}' is reserved"
    if _ID.fullmatch(text):
        return None
    if re.fullmatch(r"[a-z0-9-]+", text, re.ASCII):
        return "must start and end with a letter or a number"
    return "must contain only lowercase letters, numbers, and hyphens"


def validate_formation_id(text: str) -> None:
    """Raise RequestError (code InvalidFormationID) unless `text` can be a formation's id."""
    problem = id_problem(text)
    if problem is not None:
        raise RequestError(
            f"formation ID {problem}",
            code="InvalidFormationID",
            stage="validating",
            cure="Use 3-50 of a-z, 0-9 and hyphens, for example 'support-agent-2'.",
        )
