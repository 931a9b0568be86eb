"""Query parameters of the log routes, read leniently, as the original does. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_LINES = 100
MOST_LINES = 10_000
MOST_BYTES = 16 * 1024 * 1024
"""Of one log in one answer, however long its lines are."""
STREAMS = ("stdout", "stderr")


def line_count(args: Mapping[str, str], default: int = DEFAULT_LINES) -> int:
    """Read `lines`, or `limit` as the Python and TypeScript SDKs call it; bad values count as none."""
    for name in ("lines", "limit"):
        text = args.get(name, "")
        if text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0:
            return min(int(text), MOST_LINES)
    return default


def wanted_streams(args: Mapping[str, str]) -> tuple[str, ...]:
    """Read `stream`: a comma-separated list; `all`, nothing, or nothing known means both."""
    names = [name.strip() for name in args.get("stream", "").split(",")]
    wanted = tuple(stream for stream in STREAMS if stream in names)
    return wanted if wanted and "all" not in names else STREAMS


def wants_follow(args: Mapping[str, str]) -> bool:
    return _is_true(args, "follow")


def wants_draft(args: Mapping[str, str]) -> bool:
    """Say whether it is about what runs under `/draft/{id}`, not about the live formation."""
    return _is_true(args, "draft")


def _is_true(args: Mapping[str, str], name: str) -> bool:
    return args.get(name, "").lower() in {"true", "1"}
