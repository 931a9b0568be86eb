"""Changing single values in a YAML file that somebody has written; every other byte stays. Pure.

The place of a value is taken from the parser's marks, and the changed text is parsed again: unless
it now says what was wanted, nothing is changed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import yaml

from muxi.config.document import NULL_TAG, compose, scalar_text
from muxi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Place(NamedTuple):
    """The innermost group there is, the value found in it if any, and the names still missing."""

    group: yaml.MappingNode
    value: yaml.ScalarNode | None
    missing: list[str]


class _Unusual(ValueError):
    """The file is valid, but written in a way that a simple change could spoil."""


def edit_config(text: str, changes: Mapping[str, str | int]) -> str:
    """Change `server_id`, `server.port` and the like; a key that is not there yet is added.

    Keys are dotted. Raises ConfigError when the file is not YAML, or is
    written in a way that this can't change safely.
    """
    for key, value in changes.items():
        text = _set(text, key, str(value))
    return text


def quoted(value: str) -> str:
    """Write a text so that YAML reads the same text: plain where that is safe."""
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value)
    return value if plain else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _set(text: str, key: str, value: str) -> str:
    names = key.split(".")
    try:
        root = compose(text)
    except (yaml.YAMLError, ValueError):
        problem = "it is not YAML; `muxi-server config validate` says where"
        raise ConfigError("config.yaml can't be changed", (problem,)) from None
    try:
        changed = _changed(text, root, names, quoted(value))
        if _read(compose(changed), names) != value:
            raise _Unusual
    except (yaml.YAMLError, ValueError):
        problem = f"{key} is written in an unusual way; set it to {value} by hand"
        raise ConfigError("config.yaml can't be changed safely", (problem,)) from None
    return changed


def _changed(text: str, root: yaml.Node | None, names: list[str], value: str) -> str:
    if root is None:
        separator = "" if not text or text.endswith("\n") else "\n"
        return text + separator + _lines(names, value, "")
    place = _locate(root, names)
    if place.value is None:
        return _insert(text, place.group, place.missing, value)
    return _replace(text, place.value, _flow(place.missing, value))


def _locate(node: yaml.Node, names: list[str]) -> _Place:
    """Follow the names inwards. Raises _Unusual for lists, aliases, and values where groups belong."""
    if not isinstance(node, yaml.MappingNode):
        raise _Unusual
    found = _member(node, names[0])
    if found is None:
        return _Place(node, None, names)
    name_node, value = found
    if value.start_mark.index < name_node.end_mark.index:  # an alias: the value is written elsewhere
        raise _Unusual
    rest = names[1:]
    if isinstance(value, yaml.ScalarNode) and (not rest or value.tag == NULL_TAG):
        return _Place(node, value, rest)
    if not rest:
        raise _Unusual
    return _locate(value, rest)


def _member(group: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    for name_node, value in group.value:
        if scalar_text(name_node) == name:
            return name_node, value
    return None


def _replace(text: str, node: yaml.ScalarNode, value: str) -> str:
    start, end = node.start_mark.index, node.end_mark.index
    blank = " " if start == end else ""  # an empty value's place is right behind the colon
    return f"{text[:start]}{blank}{value}{text[end:]}"


def _insert(text: str, group: yaml.MappingNode, names: list[str], value: str) -> str:
    """Put a new key before the first one of its group."""
    if group.flow_style:
        at = group.start_mark.index + 1
        comma = ", " if group.value else ""
        return f"{text[:at]}{names[0]}: {_flow(names[1:], value)}{comma}{text[at:]}"
    mark = group.value[0][0].start_mark
    first, indent = int(mark.index), " " * int(mark.column)
    return text[:first] + _lines(names, value, indent).lstrip() + indent + text[first:]


def _lines(names: list[str], value: str, indent: str) -> str:
    if len(names) == 1:
        return f"{indent}{names[0]}: {value}\n"
    return f"{indent}{names[0]}:\n{_lines(names[1:], value, indent + '  ')}"


def _flow(names: list[str], value: str) -> str:
    return f"{{{names[0]}: {_flow(names[1:], value)}}}" if names else value


def _read(root: yaml.Node | None, names: list[str]) -> str | None:
    for name in names:
        found = _member(root, name) if isinstance(root, yaml.MappingNode) else None
        root = found[1] if found else None
    return None if root is None else scalar_text(root)
