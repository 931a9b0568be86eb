"""The description of the API: whole, valid, and true of the fake fleet's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from muxi.api.app import endpoints
from muxi.api.described import ROUTES
from muxi.api.openapi import document
from tests.api.harness import Api, make_api, view

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.api.routing import Endpoint


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path, view("my-bot"), view("a-bot", "stopped"))


def described(api: Api) -> dict[str, object]:
    return document(endpoints(api.app.parts), "1.0.0")


def test_every_route_is_described_and_nothing_else(api: Api) -> None:
    names = {endpoint.name for endpoint in endpoints(api.app.parts)}
    assert names == set(ROUTES), "say in muxi/api/described.py what a new route is for"


def test_the_description_is_valid(api: Api) -> None:
    OpenAPIV31SpecValidator(described(api)).validate()


async def test_it_is_given_to_who_may_manage(api: Api) -> None:
    answer = await api.get("/rpc/openapi.json")
    assert answer.status == 200
    assert answer.json == described(api)
    assert "/rpc/openapi.json" in answer.json["paths"]
    assert (await api.call("GET", "/rpc/openapi.json", signed=False)).status == 401


def test_management_is_signed_and_the_rest_is_public(api: Api) -> None:
    paths = described(api)["paths"]
    assert isinstance(paths, dict)
    for path, operations in paths.items():
        for operation in operations.values():
            assert bool(operation["security"]) is path.startswith("/rpc/")
            assert ("401" in operation["responses"]) is (path.startswith("/rpc/") or path == "/metrics")


def test_a_route_that_nobody_describes_is_there_by_its_name(api: Api) -> None:
    async def handler() -> None:
        raise NotImplementedError

    from muxi.api.routing import Endpoint as Made

    strange: Endpoint = Made("GET", "/rpc/strange", handler)  # type: ignore[arg-type]
    paths = document([strange], "1")["paths"]
    assert isinstance(paths, dict)
    assert paths["/rpc/strange"]["get"]["summary"] == "GET /rpc/strange"


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/rpc/server/status",
        "/rpc/runtimes",
        "/rpc/formations",
        "/rpc/formations/my-bot",
        "/rpc/openapi.json",
    ],
)
async def test_answers_are_as_described(path: str, api: Api) -> None:
    whole = described(api)
    template = path.replace("my-bot", "{formation_id}")
    paths = whole["paths"]
    assert isinstance(paths, dict)
    schema = paths[template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer = (await api.get(path)).json
    OAS31Validator({**schema, "components": whole["components"]}).validate(answer)
