"""A server of its own for every file of tests that asks for one."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.integration.outside import kill_all
from tests.live import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(tmp_path_factory.mktemp("server")) as live:
        yield live


@pytest.fixture
def marker() -> Iterator[str]:
    """A word for a formation's command line, by which its processes are found; none outlives the test."""
    word = f"marker-{uuid.uuid4().hex}"
    yield word
    kill_all(word)
