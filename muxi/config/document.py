"""A configuration file as YAML nodes by dotted key, each with its line. Pure.

Nodes are read, never constructed: text stays as it was written, aliases are not multiplied, and
every message can say where. The walk follows the schema, so its depth is the schema's.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_FILE_SIZE = 128 * 1024
"""Bytes; a configuration is never that long, and a reader of nested YAML is slow."""

NULL_TAG = "tag:yaml.org,2002:null"

_SHOWABLE_PART = re.compile(r"[A-Za-z<][A-Za-z0-9_<-]{0,30}")
_QUOTED = re.compile(r"'[^'<]{2,}'|\"[^\"<]{2,}\"")


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault, and the line by which it is sorted among the others."""

    line: int
    text: str


@dataclass(slots=True)
class Document:
    """The nodes of known keys, and what was wrong on the way to them."""

    filename: str
    nodes: dict[str, yaml.Node] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def complain(self, line: int, text: str) -> None:
        self.problems.append(Problem(line, f"{self.filename}:{line}: {text}"))


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def scalar_text(node: yaml.Node) -> str | None:
    """Return a scalar as written, "" for null; None for a list or a mapping."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    return "" if node.tag == NULL_TAG else str(node.value)


def describe(node: yaml.Node) -> str:
    """Name the shape of a node without its content."""
    if isinstance(node, yaml.MappingNode):
        return "a group of keys"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def read_document(data: bytes, filename: str, leaves: Collection[str]) -> Document:
    """Find the nodes of `leaves` (dotted keys) in a file; everything else in it is a problem."""
    document = Document(filename)
    root = _compose(data, document)
    if isinstance(root, yaml.MappingNode):
        _Walk(document, leaves).group(root, "")
    elif root is not None and scalar_text(root) != "":
        document.complain(line_of(root), f"the file holds {describe(root)}; allowed: a group of keys")
    return document


def compose(text: str) -> yaml.Node | None:
    """Parse one YAML document into nodes. Raises yaml.YAMLError or ValueError, nothing else."""
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        raise ValueError("the file is nested too deeply") from None
    except OverflowError:  # an escape beyond the last character, "\UFFFFFFFF"
        raise ValueError("the file has an escape that names no character") from None
    return node


def _compose(data: bytes, document: Document) -> yaml.Node | None:
    if len(data) > MAX_FILE_SIZE:
        document.complain(1, f"the file is too long; allowed: up to {MAX_FILE_SIZE} bytes")
        return None
    try:
        return compose(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        document.complain(line, "the file is not UTF-8 text")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        document.complain(line, f"not YAML, at column {column}: {_without_content(error.problem)}")
    except yaml.reader.ReaderError as error:
        document.complain(1, f"not YAML: character U+{_code(error.character):04X} is not allowed")
    except ValueError:
        document.complain(1, "not YAML: nested too deeply, or an escape that names no character")
    return None


def _without_content(problem: str | None) -> str:
    """Drop what the parser quotes from the file: it may be a piece of a secret."""
    return _QUOTED.sub("…", problem or "it can't be read")


def _code(character: object) -> int:
    return character if isinstance(character, int) else ord(str(character)[0])


class _Walk:
    def __init__(self, document: Document, leaves: Collection[str]) -> None:
        self._document = document
        self._leaves = leaves
        self._groups = {leaf[:dot] for leaf in leaves for dot in range(len(leaf)) if leaf[dot] == "."}

    def group(self, mapping: yaml.MappingNode, prefix: str) -> None:
        first_lines: dict[str, int] = {}
        for key_node, value in mapping.value:
            line = line_of(key_node)
            name = scalar_text(key_node)
            if not name:
                self._document.complain(line, f"{describe(key_node)} can't be a key; allowed: a name")
            elif name in first_lines:
                shown = _shown(prefix + name)
                self._document.complain(line, f"{shown} is written twice, first on line {first_lines[name]}")
            else:
                first_lines[name] = line
                self._member(prefix + name, value, line)

    def _member(self, name: str, value: yaml.Node, line: int) -> None:
        if name in self._leaves:
            self._document.nodes[name] = value
        elif name not in self._groups:
            self._document.complain(line, f"{_shown(name)} is not a known key{self._suggestion(name)}")
        elif isinstance(value, yaml.MappingNode):
            self.group(value, name + ".")
        elif scalar_text(value) != "":  # an empty group is one with nothing set
            self._document.complain(line, f"{name} is {describe(value)}; allowed: a group of keys")

    def _suggestion(self, name: str) -> str:
        """Name the nearest known key: a near spelling in its group, else the same name elsewhere."""
        if _shown(name) != name:
            return ""
        parent, _, last = name.rpartition(".")
        siblings = [n for n in (*self._leaves, *self._groups) if n.rpartition(".")[0] == parent]
        elsewhere = [leaf for leaf in self._leaves if leaf.rpartition(".")[2] == last]
        near = difflib.get_close_matches(name, siblings, 1, 0.75) or elsewhere[:1]
        near = near or difflib.get_close_matches(name, sorted(self._leaves), 1)
        return f"; did you mean {near[0]}?" if near else ""


def _shown(name: str) -> str:
    """Give a key's name back, unless it looks like no name: then it may be a misplaced secret.

    A key may be written with dots itself, so no part of it is known to be a name.
    """
    shown: list[str] = []
    for part in name.split("."):
        if not _SHOWABLE_PART.fullmatch(part):
            return ".".join([*shown, "(an unusable name)"])
        shown.append(part)
    return name
