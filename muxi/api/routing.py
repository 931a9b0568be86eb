"""Routes as values: a method, a path template as the documents write it, and a handler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quart import Response
    from werkzeug.routing import Rule

Handler: TypeAlias = "Callable[..., Awaitable[Response]]"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`POST /rpc/formations/{formation_id}/start` and what answers it."""

    method: str
    template: str
    handler: Handler

    @property
    def name(self) -> str:
        """The name that Quart knows it by; `route_of` reads the template back from it."""
        return f"{self.method} {self.template}"

    @property
    def may_change(self) -> bool:
        """Whether it can begin something, so that sending it again must not begin it again."""
        return self.method != "GET" and self.template.startswith("/rpc/")

    @property
    def rule(self) -> str:
        return self.template.replace("{", "<").replace("}", ">")


def route_of(rule: Rule | None) -> str | None:
    """Return the template that a request matched, None when it matched none."""
    return rule.endpoint.partition(" ")[2] if rule is not None else None
