"""Reading YAML that a stranger wrote: as a tree of nodes, never as objects.

Nodes keep each scalar as its author wrote it (`version: 1.10` is the text "1.10") and the line it
stands on. Nothing is constructed, so neither tags nor aliases nor merge keys can make anything
large or strange out of a small text; size, depth and repeated keys are checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SIZE = 1024 * 1024
MAX_DEPTH = 50
MAX_EVENTS = 200_000

# libyaml's parser is forty times as fast; where PyYAML was built without it, its own will do.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlProblem(ValueError):
    """The text is not YAML that we take; says why, and where if that is known."""


def read_mapping(data: bytes) -> yaml.MappingNode:
    """Parse one document whose top is a mapping. Raises YamlProblem."""
    text = _decode(data)
    try:
        _check_shape(text)
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise YamlProblem(_explain(error)) from error
    if not isinstance(node, yaml.MappingNode):
        raise YamlProblem("it is not a mapping of keys to values")
    _check_keys(node)
    return node


def line_of(node: yaml.Node) -> int:
    """Return the line on which a node begins, counted from 1."""
    return int(node.start_mark.line) + 1


def _decode(data: bytes) -> str:
    if len(data) > MAX_SIZE:
        raise YamlProblem(f"it is larger than {MAX_SIZE:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlProblem(f"it is not UTF-8 text (byte {error.start})") from error


def _check_shape(text: str) -> None:
    """Refuse deep nesting before anything recursive sees the text."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            line = "" if event.start_mark is None else f"line {event.start_mark.line + 1}: "
            raise YamlProblem(f"{line}nested more than {MAX_DEPTH} levels deep")
        if count > MAX_EVENTS:
            raise YamlProblem("it has too many values")


def _check_keys(top: yaml.MappingNode) -> None:
    for mapping in _mappings(top):
        seen: dict[str, int] = {}
        for key, _ in mapping.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise YamlProblem(
                    f"line {line_of(key)}: the key '{key.value}' stands on line {seen[key.value]} already"
                )
            seen[key.value] = line_of(key)


def _mappings(top: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Walk every node once, however often aliases refer to it."""
    waiting, seen = [top], {id(top)}
    while waiting:
        node = waiting.pop()
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            yield node
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        fresh = [child for child in children if id(child) not in seen]
        seen.update(map(id, fresh))
        waiting.extend(fresh)


def _explain(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is not valid YAML"
    mark = getattr(error, "problem_mark", None)
    return str(problem) if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
