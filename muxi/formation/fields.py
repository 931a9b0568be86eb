"""Reading the fields of a manifest from its YAML nodes, gathering every problem on the way. Pure."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, TypeVar

import yaml

from muxi.config.values import parse_duration, parse_url_path
from muxi.formation.identifier import id_problem
from muxi.formation.yaml_tree import line_of
from muxi.runtime.program import SERVER_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

MAX_TEXT = 20_000
MAX_WORDS = 1000
_Value = TypeVar("_Value")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NULL_TAG = "tag:yaml.org,2002:null"


class Fields:
    """The keys of one mapping. Each reader returns a value, or None after noting a problem.

    A key that is missing, or has YAML's null as its value, reads as None without a problem.
    """

    def __init__(self, mapping: yaml.MappingNode, problems: list[str], prefix: str = "") -> None:
        self._problems = problems
        self._prefix = prefix
        self._nodes: dict[str, yaml.Node] = {}
        for key, value in mapping.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(key, "", "is not a plain name")
            elif key.tag.endswith(":merge"):
                self._note(key, "<<", "is not understood here; write the keys out")
            else:
                self._nodes[key.value] = value

    def has(self, name: str) -> bool:
        node = self._nodes.get(name)
        return node is not None and not _is_null(node)

    def text(self, name: str) -> str | None:
        """Read a single value as it is written; numbers and true/false are texts here."""
        node = self._nodes.get(name)
        return None if node is None or _is_null(node) else self._scalar(name, node)

    def line(self, name: str) -> str | None:
        """Read a text that may not have more than one line."""
        value = self.text(name)
        if value is not None and not value.strip().isprintable():
            self._note(self._nodes[name], name, "must be printable text on one line")
            return None
        return None if value is None else value.strip()

    def duration(self, name: str) -> float | None:
        """Read seconds, or a text such as 30s or 5m; more than zero, at most a day."""
        return self._parsed(name, lambda text: parse_duration(text, 0.01, 86400))

    def path(self, name: str) -> str | None:
        return self._parsed(name, parse_url_path)

    def words(self, name: str) -> tuple[str, ...] | None:
        """Read a list of texts that is not empty, such as a command."""
        if not self.has(name):
            return None
        node = self._nodes[name]
        if not isinstance(node, yaml.SequenceNode):
            self._note(node, name, 'must be a list; write it as one, for example ["python3", "app.py"]')
            return None
        words = [self._scalar(name, item) for item in node.value[:MAX_WORDS]]
        good = tuple(word for word in words if word is not None)
        if len(good) < len(node.value):
            return None
        if not good or not good[0]:
            self._note(node, name, "must begin with the name of a program")
            return None
        return good

    def ids(self, name: str) -> tuple[str, ...]:
        """Read a list of formations' ids, or a single one; each is wanted once."""
        if not self.has(name):
            return ()
        node = self._nodes[name]
        if isinstance(node, yaml.MappingNode):
            self._note(node, name, "must be a list of ids")
            return ()
        items = node.value[:MAX_WORDS] if isinstance(node, yaml.SequenceNode) else [node]
        found = [word for item in items if (word := self._scalar(name, item)) is not None]
        for word in found:
            if (problem := id_problem(word)) is not None:
                self._note(node, name, f"has '{word}', which is no id: {problem}")
        return tuple(dict.fromkeys(found))

    def variables(self, name: str) -> dict[str, str]:
        """Read a mapping of environment variables; values are texts as they are written."""
        found: dict[str, str] = {}
        inner = self._mapping(name)
        if inner is None:
            return found
        for variable in sorted(inner.names()):
            if not _VARIABLE.fullmatch(variable):
                inner.complain(variable, "is not a name for an environment variable")
            elif variable in SERVER_VARIABLES:
                inner.complain(variable, "is set by the server; leave it out")
            else:
                found[variable] = inner.text(variable) or ""
        return found

    def group(self, name: str, known: Collection[str]) -> Fields | None:
        """Read a mapping with these names only; any other one in it is a problem."""
        inner = self._mapping(name)
        if inner is None:
            return None
        for unknown in sorted(inner.names() - set(known)):
            near = difflib.get_close_matches(unknown, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            inner.complain(unknown, f"is not known; {hint}")
        return inner

    def value(self, name: str, parse: Callable[[str], _Value]) -> _Value | None:
        """Read a single value as `parse` does, which raises ValueError."""
        return self._parsed(name, parse)

    def is_single(self, name: str) -> bool:
        """Say whether there is a value, and it is neither a list nor a mapping."""
        return self.has(name) and isinstance(self._nodes[name], yaml.ScalarNode)

    def names(self) -> set[str]:
        return set(self._nodes)

    def complain(self, name: str, problem: str) -> None:
        """Note a problem with a key that is there."""
        self._note(self._nodes[name], name, problem)

    def _mapping(self, name: str) -> Fields | None:
        if not self.has(name):
            return None
        node = self._nodes[name]
        if isinstance(node, yaml.MappingNode):
            return Fields(node, self._problems, f"{self._prefix}{name}.")
        self._note(node, name, "must be a mapping of names to values")
        return None

    def _parsed(self, name: str, parse: Callable[[str], _Value]) -> _Value | None:
        text = self.text(name)
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            self._note(self._nodes[name], name, str(error))
            return None

    def _scalar(self, name: str, node: yaml.Node) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._note(node, name, "must be a single value")
        elif len(node.value) > MAX_TEXT:
            self._note(node, name, f"is longer than {MAX_TEXT:,} characters")
        elif not _is_plain_text(node.value):
            self._note(node, name, "holds a character that is not text (NUL or half of a pair)")
        else:
            return str(node.value)
        return None

    def _note(self, node: yaml.Node, name: str, problem: str) -> None:
        self._problems.append(f"line {line_of(node)}: {self._prefix}{name} {problem}")


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL_TAG


def _is_plain_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
