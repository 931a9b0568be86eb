from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.containers.dockerd import Dockerd, NotHere

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    """A real engine of our own; tests that ask for one are skipped, visibly, where there can't be any."""
    try:
        engine = Dockerd(tmp_path_factory.mktemp("dockerd"))
        engine.__enter__()
    except NotHere as why:
        pytest.skip(f"no Docker: {why}")
    try:
        yield engine
    finally:
        engine.__exit__()
