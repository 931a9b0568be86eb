"""What each source says: the file, the environment and the flags, as checked values by key. Pure.

Each source is checked whole, so that one error can list every problem of all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from muxi.auth.credentials import check_id, check_secret
from muxi.config.document import Document, Problem, describe, line_of, scalar_text
from muxi.config.model import Config, KeyPair
from muxi.config.schema import Kind, declarations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from muxi.config.schema import Declaration

AFTER_FILE = 1 << 30
"""Sorts the problems of other sources behind those of the file."""

KEYS = "auth.keys"
PORT_RANGE = "formations.port_range"
PORT_RANGE_ENDS = (f"{PORT_RANGE}_start", f"{PORT_RANGE}_end")

# The later of two names for one key wins.
ENVIRONMENT = (
    ("MUXI_SERVER_PORT", "server.port"),
    ("MUXI_PORT", "server.port"),
    ("MUXI_SERVER_HOST", "server.host"),
    ("MUXI_HOST", "server.host"),
    ("MUXI_AUTH_ENABLED", "auth.enabled"),
    ("MUXI_LOG_LEVEL", "logging.level"),
    ("MUXI_PORT_START", "formations.port_range_start"),
    ("MUXI_PORT_END", "formations.port_range_end"),
    ("MUXI_RUNTIME_TYPE", "formations.runtime_type"),
)

_ZERO = re.compile(r"0+(\.0+)?[A-Za-z]*|false|", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """A checked value and where it was found. `weak`: a 0 that only stands for something else."""

    value: object
    where: str
    line: int = AFTER_FILE
    weak: bool = False

    def problem(self, text: str) -> Problem:
        return Problem(self.line, f"{self.where}: {text}")


@dataclass(frozen=True, slots=True)
class _Name:
    declaration: Declaration
    kind: Kind[object]


def names() -> dict[str, _Name]:
    """Return every name that a value can be given under: keys, their parts and their aliases."""
    known: dict[str, _Name] = {}
    for declaration in declarations(Config):
        parent, dot, _ = declaration.name.rpartition(".")
        known[declaration.name] = _Name(declaration, declaration.key.kind)
        for part, kind in declaration.key.parts.items():
            known[parent + dot + part] = _Name(declaration, kind)
        for alias in declaration.key.aliases:
            known[alias] = _Name(declaration, declaration.key.kind)
    return known


def from_environment(environment: Mapping[str, str], problems: list[Problem]) -> dict[str, Found]:
    """Read the variables of `ENVIRONMENT`; an empty one counts as not set."""
    known = names()
    found: dict[str, Found] = {}
    for variable, name in ENVIRONMENT:
        if text := environment.get(variable, ""):
            found.update(_read(name, known[name], text, Found(None, variable), problems))
    return found


def from_flags(flags: Mapping[str, object], problems: list[Problem]) -> dict[str, Found]:
    """Read flags by dotted key; None counts as not given. Raises KeyError for an unknown key."""
    known = names()
    found: dict[str, Found] = {}
    for name, value in flags.items():
        if value is not None:
            found.update(_read(name, known[name], str(value), Found(None, f"flag {name}"), problems))
    return found


def from_file(document: Document, problems: list[Problem]) -> dict[str, Found]:
    """Read a file's nodes. Empty values, and zeros where 0 makes no sense, count as not set."""
    found: dict[str, Found] = {}
    for name, known in names().items():
        node = document.nodes.get(name)
        if node is None:
            continue
        place = Found(None, f"{document.filename}:{line_of(node)}: {name}", line_of(node))
        if name == KEYS and isinstance(node, yaml.SequenceNode):
            pairs = tuple(_pairs(node, document, problems))
            found[name] = Found(pairs, place.where, place.line)
        elif name == PORT_RANGE and isinstance(node, yaml.SequenceNode):
            found |= _ends(node, place, problems)
        elif (text := _text(known.kind, node)) is None:
            problems.append(place.problem(f"{describe(node)} can't be it; allowed: {known.kind.allowed}"))
        elif text.strip() and not _never_set(known, text, document):
            read = _read(name, known, text, place, problems)
            problems += _contradictions(found, read)
            found |= read
    return found


def _text(kind: Kind[object], node: yaml.Node) -> str | None:
    """Return a single value as written, or the items of a list where there may be one; else None."""
    if not kind.listed or not isinstance(node, yaml.SequenceNode):
        return scalar_text(node)
    texts = [scalar_text(item) for item in node.value]
    good = [text for text in texts if text is not None]
    return ", ".join(good) if len(good) == len(texts) else None


def _contradictions(earlier: dict[str, Found], later: dict[str, Found]) -> Iterator[Problem]:
    """Compare a port range's end with the same end given in the other way of writing it."""
    for name in earlier.keys() & later.keys():
        old, new = earlier[name], later[name]
        if old.value != new.value:
            text = f"{new.value} differs from {old.value} at {old.where}; give the range in one way only"
            yield new.problem(text)


def _read(name: str, known: _Name, text: str, place: Found, problems: list[Problem]) -> dict[str, Found]:
    """Parse one value; no result when it is wrong, two for a port range."""
    declared = known.declaration.key
    if place.line != AFTER_FILE and declared.zero is not None and _ZERO.fullmatch(text.strip()):
        return (
            {}
            if name in PORT_RANGE_ENDS
            else {name: Found(declared.zero, place.where, place.line, weak=True)}
        )
    try:
        value = known.kind.parse(text)
    except ValueError as error:
        wrong = f"the value can't be used; allowed: {known.kind.allowed}" if declared.secret else str(error)
        problems.append(place.problem(wrong))
        return {}
    if name == PORT_RANGE and isinstance(value, tuple):
        return {
            end: Found(port, place.where, place.line)
            for end, port in zip(PORT_RANGE_ENDS, value, strict=True)
        }
    return {name: Found(value, place.where, place.line)}


def _never_set(known: _Name, text: str, document: Document) -> bool:
    """Tell whether a false is one that the original's `init` wrote among zeros of the same group."""
    neighbours = known.declaration.key.unset_with
    if not neighbours or not _ZERO.fullmatch(text.strip()):
        return False
    parent = known.declaration.name.rpartition(".")[0]
    nodes = [document.nodes.get(f"{parent}.{neighbour}") for neighbour in neighbours]
    texts = [None if node is None else scalar_text(node) for node in nodes]
    return all(text is not None and _ZERO.fullmatch(text.strip()) for text in texts)


def _ends(node: yaml.SequenceNode, place: Found, problems: list[Problem]) -> dict[str, Found]:
    known = names()
    texts = [scalar_text(item) for item in node.value]
    if len(texts) != 2 or None in texts:
        problems.append(place.problem("a port range has two numbers; allowed: [start, end]"))
        return {}
    found: dict[str, Found] = {}
    for end, text in zip(PORT_RANGE_ENDS, texts, strict=True):
        found.update(_read(end, known[end], text or "", place, problems))
    return found


def _pairs(node: yaml.SequenceNode, document: Document, problems: list[Problem]) -> Iterator[KeyPair]:
    for number, item in enumerate(node.value, 1):
        place = f"{document.filename}:{line_of(item)}: {KEYS}[{number}]"

        def complain(wrong: str, line: int = line_of(item), place: str = place) -> None:
            problems.append(Problem(line, f"{place}: {wrong}"))

        if not isinstance(item, yaml.MappingNode):
            complain(f"{describe(item)} is no key; allowed: {{id, secret}}")
        elif (pair := _pair(item, complain)) is not None:
            yield pair


def _pair(item: yaml.MappingNode, complain: Callable[[str], None]) -> KeyPair | None:
    texts: dict[str, str] = {}
    for name_node, value in item.value:
        name = scalar_text(name_node)
        if name not in {"id", "secret"} or name in texts:
            complain("only id and secret, each once, are known in a key")
            return None
        texts[name] = (scalar_text(value) or "").strip()
    try:
        return make_pair(texts.get("id", ""), texts.get("secret", ""))
    except ValueError as error:
        complain(str(error))
        return None


def make_pair(key_id: str, secret: str) -> KeyPair:
    """Check an id and its secret together. Raises ValueError, which repeats neither."""
    if not secret:
        raise ValueError("a key without its secret; allowed: {id, secret}")
    if not key_id:
        raise ValueError("a secret without its key id; allowed: {id, secret}")
    return KeyPair(check_id(key_id), check_secret(secret))
