"""The reference of the API, made of the OpenAPI document that the server gives of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from docs.generate.examples import PARTS, REFUSED
from docs.generate.markdown import code, shell, table
from docs.generate.schemas import described, kind, mapping
from muxi.api.described import ROUTES
from muxi.api.openapi import document
from muxi.api.routing import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quart import Response

    from docs.generate.schemas import Schema

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
NAMES: Final = {JSON: "JSON", EVENTS: "events", "application/gzip": "a bundle"}


async def _nobody() -> Response:
    raise NotImplementedError  # a description calls no handler


def api() -> Iterator[str]:
    """Yield the lines of the reference. Raises LookupError for a route that has no place in it."""
    whole = document([Endpoint(*_split(name), _nobody) for name in ROUTES], "")
    operations = {name: _operation(whole, name) for name in ROUTES}
    missing = set(operations) - {name for names in _places(operations).values() for name in names}
    if missing:
        raise LookupError(f"say in docs/generate/examples.py where these belong: {sorted(missing)}")
    for part in PARTS:
        yield from ("", f"## {part.title}", "", part.about)
        for name, example in part.examples.items():
            yield from _route(name, operations[name], _places(operations)[name])
            status = REFUSED.get(name)
            yield from shell(example, run="run: live" + (f", exit {status}" if status else ""))
    yield from ("", "## Shapes", "", "More fields may come at any time; pass over those that you don't know.")
    for name, schema in mapping(mapping(whole, "components"), "schemas").items():
        assert isinstance(schema, dict)
        yield from described(name, schema)


def _split(name: str) -> tuple[str, str]:
    method, _, template = name.partition(" ")
    return method, template


def _operation(whole: Schema, name: str) -> Schema:
    method, template = _split(name)
    return mapping(mapping(mapping(whole, "paths"), template), method.lower())


def _places(operations: dict[str, Schema]) -> dict[str, list[str]]:
    """Return which routes stand in one place: those with an example, with all that do the same."""
    return {
        name: [other for other in operations if operations[other]["summary"] == operations[name]["summary"]]
        for part in PARTS
        for name in part.examples
    }


def _route(name: str, operation: Schema, same: list[str]) -> Iterator[str]:
    yield from ("", f"### {name}", "", str(operation["summary"]))
    others = [code(other) for other in same if other != name]
    if others:
        yield from ("", f"The same: {', '.join(others)}. What ends in `/stream` answers with events.")
    yield from table(("Parameter", "In", "Type", ""), _parameters(operation))
    yield ""
    body = mapping(mapping(operation, "requestBody"), "content")
    if body:
        yield f"Body: {' or '.join(_content(body))}."
    good, bad = _answers(operation)
    yield f"Answer: {'; '.join(good)}. Fails with {', '.join(bad)}."


def _parameters(operation: Schema) -> Iterator[tuple[str, str, str, str]]:
    found = operation["parameters"]
    assert isinstance(found, list)
    for parameter in found:
        if parameter["in"] != "path":
            yield (
                code(parameter["name"]),
                parameter["in"],
                kind(parameter["schema"]),
                parameter["description"],
            )


def _answers(operation: Schema) -> tuple[list[str], list[str]]:
    good, bad = [], []
    for status, answer in mapping(operation, "responses").items():
        assert isinstance(answer, dict)
        if int(status) >= 400:
            bad.append(code(status))
        else:
            good.append(f"{code(status)}, {' or '.join(_content(answer['content']))}")
    return good, bad


def _content(content: Schema) -> Iterator[str]:
    for media, about in content.items():
        assert isinstance(about, dict)
        yield _json(about["schema"]) if media == JSON else NAMES.get(media, code(media))


def _json(schema: Schema) -> str:
    inner = mapping(schema, "properties").get("data")
    if inner is None:
        return f"{kind(schema)} as JSON"
    return f"JSON with `data`: {kind(inner)}"
