"""What a configuration that was read again changes, and what has to wait for another program. Pure."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

from muxi.config.model import Config
from muxi.config.schema import build, declarations

TLS = "server.tls."
"""Whether the port speaks HTTPS is for the life of the program; with which certificate is not."""


class Changes(NamedTuple):
    """The configuration in force from now on, and the names of keys, never their values.

    `live` have changed in it; `fixed` differ in the file, but hold for the life of the program.
    """

    config: Config
    live: tuple[str, ...]
    fixed: tuple[str, ...]


def compare(old: Config, new: Config) -> Changes:
    """Take from `new` what may change while the server runs, and from `old` the rest."""
    switched = (old.server.tls.cert is None) != (new.server.tls.cert is None)
    chosen: dict[str, object] = {}
    live: list[str] = []
    fixed: list[str] = []
    for name, _, key in declarations(Config):
        before, after = value_of(old, name), value_of(new, name)
        kept = key.fixed or (switched and name.startswith(TLS))
        chosen[name] = before if kept else after
        if before != after and not key.pending:
            (fixed if kept else live).append(name)
    return Changes(build(Config, chosen, paths=old.paths), tuple(live), tuple(fixed))


def value_of(config: Config, name: str) -> object:
    """Return the value of a key by its dotted name."""
    found: object = reduce(getattr, name.split("."), config)
    return found
