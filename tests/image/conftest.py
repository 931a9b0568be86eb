"""An image with the binary that MUXI_IMAGE names (`make test-image`); skipped where it names none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers.conftest import dockerd
from tests.containers.dockerd import NotHere
from tests.image.built import Docker, build, find_client

if TYPE_CHECKING:
    from tests.containers.dockerd import Dockerd

__all__ = ["docker", "dockerd"]


@pytest.fixture(scope="session")
def docker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Docker:
    """A client whose engine has the image."""
    binary = os.environ.get("MUXI_IMAGE", "")
    if not binary:
        pytest.skip("no image is built: make test-image")
    engine: Dockerd = request.getfixturevalue("dockerd")
    try:
        client = find_client(engine)
        build(client, Path(binary).absolute(), tmp_path_factory.mktemp("context"))
    except NotHere as why:
        pytest.skip(f"no image: {why}")
    return client
