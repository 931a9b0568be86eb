"""A group of commands that loads the module of the one that is called, and no other."""

from __future__ import annotations

import gc
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

UNKNOWN_SUGGESTIONS = 2


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is (`module`, and in it `attribute`), and what help says of it."""

    module: str
    help: str
    attribute: str = "command"
    hidden: bool = False


class LazyGroup(click.Group):
    """Looks commands up in a table of names instead of importing them all."""

    def __init__(self, *args: object, lazy: Mapping[str, Lazy] | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own many options
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        entry = self.lazy.get(cmd_name)
        if entry is None:
            return None
        found = getattr(_load(entry.module), entry.attribute)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.lazy and not args[0].startswith("-"):
            raise click.UsageError(self._unknown(args[0]), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        rows = [(name, entry.help) for name, entry in self.lazy.items() if not entry.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _unknown(self, name: str) -> str:
        import difflib  # noqa: PLC0415 - only the rare mistake pays for it

        near = difflib.get_close_matches(name, self.lazy, UNKNOWN_SUGGESTIONS)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        return f"Unknown command: {name}.{hint}"


def _load(module: str) -> ModuleType:
    """Import a module, and look for no garbage meanwhile: a tenth of the time, and what is made stays."""
    at_work = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        if at_work:
            gc.enable()
