"""The reference of the configuration, made of the declarations in `muxi.config`."""

from __future__ import annotations

from dataclasses import Field, fields, is_dataclass
from typing import TYPE_CHECKING

from docs.generate.markdown import code, table
from muxi.config.model import Config
from muxi.config.sources import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muxi.config.schema import Key, Kind

HEADS = ("Key", "Type", "Default", "Meaning")


def configuration() -> Iterator[str]:
    """Yield the lines of the reference: the keys that stand alone, then a part for each group."""
    yield from ("", "## Keys that stand alone")
    yield from _keys(Config, "")
    yield from _groups(Config, "")


def _groups(cls: type[object], prefix: str) -> Iterator[str]:
    for item in _fields(cls):
        if "group" not in item.metadata:
            continue
        name = prefix + item.name
        yield from ("", f"{'#' * (name.count('.') + 2)} {name}", "", item.metadata["doc"])
        yield from _keys(item.metadata["group"], f"{name}.")
        yield from _groups(item.metadata["group"], f"{name}.")


def _keys(cls: type[object], prefix: str) -> Iterator[str]:
    found = [item for item in _fields(cls) if "key" in item.metadata]
    yield from table(HEADS, (_row(prefix + item.name, item) for item in found))


def _row(name: str, item: Field[object]) -> tuple[str, str, str, str]:
    key: Key = item.metadata["key"]
    default = "" if key.secret else key.kind.show(item.default)
    return code(name), _type(key.kind), code(default), " ".join(_meaning(name, key, item.default))


def _type(kind: Kind[object]) -> str:
    plain = kind.name in {"boolean", "choice"} or kind.name in kind.allowed
    return kind.allowed if plain else f"{kind.name}: {kind.allowed}"


def _meaning(name: str, key: Key, default: object) -> Iterator[str]:
    yield key.doc
    if key.pending:
        yield "Accepted, and without effect."
    if key.zero is not None and key.zero == default:
        yield "0 counts as not set."
    if key.fixed:
        yield "A change needs a restart."
    if key.secret:
        yield "Never shown."
    parent, dot, _ = name.rpartition(".")
    parts = [parent + dot + part for part in key.parts]
    if others := [*parts, *key.aliases]:
        yield f"Also written as {_listed(others)}."
    names = {name, *others}
    if variables := [variable for variable, target in ENVIRONMENT if target in names]:
        yield f"In the environment: {_listed(variables)}."


def _listed(names: list[str]) -> str:
    return ", ".join(map(code, names))


def _fields(cls: type[object]) -> tuple[Field[object], ...]:
    assert is_dataclass(cls)
    return fields(cls)
