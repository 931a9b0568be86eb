"""The description of the API for programs, in OpenAPI 3.1: made from the routes, their words and models.

`GET /rpc/openapi.json` gives it. The paths of formations themselves are not in it: those are theirs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from muxi.api.answers import json_response, reason_phrase
from muxi.api.described import BUNDLE, JSON, ROUTES, About, Parameter
from muxi.api.models import Failure
from muxi.api.repeats import HEADERS as IDEMPOTENCY
from muxi.api.routing import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quart import Response

Schema = dict[str, object]

REF: Final = "#/components/schemas/{name}"
SCHEME: Final = "MuxiHmac"
CHANGES: Final = (408, 503, 507)
"""How a request that may change something can fail beside its own ways."""
_ANYTHING: Final[Schema] = {"type": "object"}


class OpenApiRoutes:
    """The route that describes all of them, itself too."""

    def __init__(self, endpoints: Iterable[Endpoint], version: str) -> None:
        self._endpoints = (*endpoints, *self.endpoints())
        self._version = version

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint("GET", "/rpc/openapi.json", self.document),)

    async def document(self) -> Response:
        return json_response(document(self._endpoints, self._version))


def document(endpoints: Iterable[Endpoint], version: str) -> dict[str, object]:
    """Describe routes. One that nobody has described is there with its name only. Pure."""
    paths: dict[str, dict[str, object]] = {}
    for endpoint in endpoints:
        about = ROUTES.get(endpoint.name) or About(endpoint.name)
        paths.setdefault(endpoint.template, {})[endpoint.method.lower()] = _operation(endpoint, about)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MUXI Server",
            "version": version,
            "summary": "The management API: deploys, supervises and shows formations.",
            "license": {"name": "Elastic License 2.0", "identifier": "Elastic-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _components(),
            "securitySchemes": {
                SCHEME: {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`MUXI-HMAC key=ID, timestamp=UNIX_SECONDS, signature=BASE64`: the "
                    "HMAC-SHA256, by the secret, of `timestamp;METHOD;path`, the path as it is sent, "
                    "without its query.",
                }
            },
        },
    }


def _operation(endpoint: Endpoint, about: About) -> dict[str, object]:
    managed = endpoint.template.startswith("/rpc/")
    operation: dict[str, object] = {
        "operationId": re.sub(r"\W+", "_", endpoint.name).strip("_").lower(),
        "summary": about.summary,
        "parameters": [*_in_path(endpoint), *map(_parameter, _parameters(endpoint, about))],
        "responses": _responses(endpoint, about, managed=managed),
        "security": [{SCHEME: []}] if managed else [],
    }
    if about.body is not None or about.bundle:
        operation["requestBody"] = _body(about)
    return operation


def _in_path(endpoint: Endpoint) -> list[dict[str, object]]:
    names = re.findall(r"{(\w+)}", endpoint.template)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _parameters(endpoint: Endpoint, about: About) -> tuple[Parameter, ...]:
    if not endpoint.may_change:
        return about.takes
    key = {"type": "string", "pattern": "^[!-~]{1,255}$"}
    return (
        *about.takes,
        Parameter(IDEMPOTENCY[0], "Marks a request that may be sent again.", key, header=True),
    )


def _parameter(parameter: Parameter) -> dict[str, object]:
    return {
        "name": parameter.name,
        "in": "header" if parameter.header else "query",
        "description": parameter.about,
        "schema": dict(parameter.schema),
    }


def _body(about: About) -> dict[str, object]:
    content: dict[str, object] = {}
    if about.bundle:
        content[BUNDLE] = {"schema": {"type": "string", "contentMediaType": BUNDLE}}
    if about.body is not None:
        content[JSON] = {"schema": _ref(about.body)}
    return {"content": content, "required": about.bundle}


def _responses(endpoint: Endpoint, about: About, *, managed: bool) -> dict[str, object]:
    failures = {400, *about.fails}
    if managed:
        failures.add(401)
    if endpoint.may_change:
        failures.update(CHANGES)
        failures.add(422)  # an idempotency key that was used for something else
        failures.add(409)
    if "{formation_id}" in endpoint.template:
        failures.add(404)
    failure = _ref(Failure)
    if about.bare and about.body is not None and about.answer is not None:
        # The draft's and development's answers have one shape for good and bad, once they are asked at all.
        failure = {"anyOf": [_ref(about.answer), failure]}
    responses: dict[str, object] = {
        str(status): {"description": reason_phrase(status), "content": {JSON: {"schema": failure}}}
        for status in failures
    }
    statuses = {about.status, 201} if endpoint.name.endswith("/draft/files") else {about.status}
    for status in statuses:
        responses[str(status)] = {"description": reason_phrase(status), "content": _content(about)}
    return dict(sorted(responses.items()))


def _content(about: About) -> dict[str, object]:
    return {kind: {"schema": _answer(about) if kind == JSON else {"type": "string"}} for kind in about.kinds}


def _answer(about: About) -> Schema:
    inner = _ref(about.answer) if about.answer is not None else _ANYTHING
    if about.bare:
        return inner
    return {
        "type": "object",
        "required": ["success", "data"],
        "properties": {"success": {"const": True}, "data": inner},
    }


def _ref(model: type) -> Schema:
    return {"$ref": REF.format(name=model.__name__)}


def _components() -> Mapping[str, object]:
    models: set[type] = {Failure}
    for about in ROUTES.values():
        models.update(model for model in (about.answer, about.body) if model is not None)
    ordered = sorted(models, key=lambda model: model.__name__)
    _, components = msgspec.json.schema_components(ordered, schema_hook=_any, ref_template=REF)
    return dict(sorted(components.items()))


def _any(model: type) -> Schema:
    """Give the schema of `object`, which stands for any JSON value."""
    assert model is object
    return {"description": "Any JSON value."}
