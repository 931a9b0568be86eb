"""A real server, asked by its own description: nothing that it describes ends in a 5xx or an answer unknown.

What does something to the whole machine, or goes on for ever, is asked of formations that don't exist.
"""

from __future__ import annotations

import gzip
import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.live import LiveServer, bundle, running

if TYPE_CHECKING:
    from collections.abc import Iterator

Case: TypeAlias = "schemathesis.Case[Any]"
Operation: TypeAlias = "schemathesis.APIOperation[Any, Any, Any, Any]"

ID = "described"
EXAMPLES = int(os.environ.get("MUXI_OPENAPI_EXAMPLES", "4"))
"""For each route, and as many of what it must refuse."""
EVENTS = "text/event-stream"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
SAFE = ("get", "validate", "draft/files", "cancel", "cancel-update")
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


BUNDLES = (b"", b"\x1f\x8b nothing", gzip.compress(b"no tar"), bundle("some-other"), bundle("Bad Name"))
schemathesis.openapi.media_type("application/gzip", st.sampled_from(BUNDLES))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(tmp_path_factory.mktemp("openapi")) as live:
        assert live.deploy(ID).status_code == 201
        yield live


@pytest.fixture(scope="module")
def description(server: LiveServer) -> dict[str, Any]:
    found: dict[str, Any] = server.rpc("GET", "/rpc/openapi.json").json()
    return found


class Signature(requests.auth.AuthBase):
    """Signs what goes out, as it goes out."""

    def __init__(self, server: LiveServer) -> None:
        self._server = server

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        path = prepared.path_url.partition("?")[0]
        prepared.headers.update(self._server.signed(str(prepared.method), path))
        return prepared


def ask(session: requests.Session, server: LiveServer, case: Case) -> int:
    """Send one request, hold the answer to the description, and return its status."""
    wanted = case.as_transport_kwargs(base_url=server.url)
    with session.request(
        **wanted, auth=Signature(server), allow_redirects=False, timeout=60, stream=True
    ) as response:
        kind = response.headers.get("Content-Type", "")
        if kind.startswith(EVENTS):
            described = case.operation.definition.raw["responses"][str(response.status_code)]
            assert EVENTS in described["content"]
            return response.status_code
        case.validate_response(response, checks=list(CHECKS))
        return response.status_code


def operations(description: dict[str, Any]) -> list[Operation]:
    schema = schemathesis.openapi.from_dict(description)
    found = []
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        found.append(result.ok())
    return found


def is_safe(operation: Operation) -> bool:
    """Tell whether it may be asked of the one formation that is there."""
    if operation.path.endswith("/logs/stream"):
        return False
    return operation.method.lower() == "get" or operation.path.endswith(SAFE)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_every_answer_is_a_described_one(
    mode: schemathesis.GenerationMode, server: LiveServer, description: dict[str, Any]
) -> None:
    found = operations(description)
    assert len(found) > 30
    statuses: Counter[int] = Counter()
    with requests.Session() as session:
        session.trust_env = False
        for operation in found:

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
            def probe(case: Case, known: bool) -> None:
                if known and is_safe(case.operation) and "formation_id" in case.path_parameters:
                    case.path_parameters["formation_id"] = ID
                    case.query.pop("follow", None)
                statuses[ask(session, server, case)] += 1

            with suppress(Unsatisfiable):  # nothing can be wrong about a request that takes nothing
                probe()
    assert statuses.total() > 20 * EXAMPLES
    assert {400, 404} <= statuses.keys()
    assert statuses[200] or mode is not MODES[0]
    assert server.formation(ID)["status"] == "running"


def test_what_is_not_signed_is_refused_everywhere(server: LiveServer, description: dict[str, Any]) -> None:
    for path, methods in description["paths"].items():
        if not path.startswith("/rpc/"):
            continue
        for method in methods:
            url = server.url + path.replace("{formation_id}", ID)
            answer = server.client.request(method.upper(), url)
            assert (answer.status_code, answer.json()["error_code"]) == (401, "Unauthorized"), (method, path)
