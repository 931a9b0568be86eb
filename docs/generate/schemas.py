"""JSON Schema as a reader wants it: a type in a few characters, and an object's fields as a table. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from docs.generate.markdown import code, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Schema: TypeAlias = "Mapping[str, object]"


def described(name: str, schema: Schema) -> Iterator[str]:
    """Yield a model's part of the page: what it is, and its fields."""
    yield from ("", f"### {name}")
    if about := str(schema.get("description", "")):
        yield from ("", about)
    yield from table(
        ("Field", "Type"),
        ((code(field), kind(inner)) for field, inner in mapping(schema, "properties").items()),
    )


def kind(schema: object) -> str:
    """Write a type: `text`, `text or null`, a link to a model, a list of such."""
    assert isinstance(schema, dict)
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(kind, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(code(str(value)) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {kind(schema['additionalProperties'])}"
    return {"string": "text", "integer": "whole number"}.get(str(schema.get("type")), _plain(schema))


def _plain(schema: Schema) -> str:
    return str(schema.get("type", "anything"))


def mapping(schema: Schema, name: str) -> Schema:
    """Return an object within a schema; an empty one where there is none."""
    found = schema.get(name, {})
    assert isinstance(found, dict)
    return found
