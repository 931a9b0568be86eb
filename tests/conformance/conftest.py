"""One server a file of tests, and the SDK's interpreter for all."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.conformance.bundles import agent_bundle
from tests.conformance.sdk import STYLES, driven
from tests.conformance.sdk_environment import sdk_python
from tests.live import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conformance.sdk import SdkClient, Style
    from tests.live import LiveServer


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter that has the real SDK."""
    return sdk_python()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(tmp_path_factory.mktemp("server")) as live:
        yield live


@pytest.fixture(scope="module", params=STYLES)
def style(request: pytest.FixtureRequest) -> Style:
    chosen: Style = request.param
    return chosen


@pytest.fixture(scope="module")
def client(
    python: Path, style: Style, server: LiveServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SdkClient]:
    """The SDK's ServerClient, signing with the server's key."""
    home = tmp_path_factory.mktemp("sdk")
    credentials = {"key_id": server.key, "secret_key": server.secret}
    with driven(python, style, "ServerClient", home, url=server.url, **credentials) as sdk:
        yield sdk


@pytest.fixture
def deploy(server: LiveServer) -> Iterator[Callable[..., str]]:
    """Deploys the agent under an id, and deletes it after the test."""
    with ExitStack() as cleanup:

        def deploy_agent(formation_id: str) -> str:
            cleanup.callback(server.rpc, "DELETE", f"/rpc/formations/{formation_id}")
            answer = server.deploy(formation_id, agent_bundle(formation_id))
            assert answer.status_code == 201, answer.text
            return formation_id

        yield deploy_agent
