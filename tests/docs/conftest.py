"""The server that the pages' commands are run against: one for all of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import all_blocks
from tests.docs.stages import Stage, program_directory, with_examples
from tests.live import KEY, ROOT, SECRET, bundle, environment, free_ports, running, write_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.live import LiveServer

METRICS_TOKEN = "a-long-random-text"
MORE = f"metrics: {{enabled: true, token: {METRICS_TOKEN}}}"


@pytest.fixture(autouse=True)
def _shells() -> None:
    if sys.platform == "win32":
        pytest.skip("the pages' commands are for a POSIX shell, and paths are written otherwise here")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Start a server as docs/production.md has it behind a proxy, and put hello-agent on it."""
    home = tmp_path_factory.mktemp("live")
    write_config(home, MORE)
    config = home / "config" / "config.yaml"
    written = config.read_text()
    config.write_text(written.replace("port: 0}", "port: 0, trusted_proxies: [127.0.0.1]}"))
    assert config.read_text() != written
    with running(home, MUXI_PORT=str(free_ports()[0])) as live:
        agent = ROOT / "examples" / "hello-agent"
        files = {name: (agent / name).read_bytes() for name in ("app.py", "formation.afs")}
        deployed = live.deploy("hello-agent", bundle("hello-agent", files))
        assert deployed.status_code == 201, deployed.text
        yield live


@pytest.fixture
def live(server: LiveServer, tmp_path: Path) -> Stage:
    """Give a directory of its own to one who manages that server."""
    port = int(server.url.rpartition(":")[2])
    with_examples(tmp_path)
    variables = environment(server.directory)
    variables |= {
        "HOME": str(tmp_path),
        "PATH": f"{program_directory(tmp_path)}:{variables['PATH']}",
        "MUXI_PORT": str(port),
        "MUXI_URL": server.url,
        "MUXI_KEY_ID": KEY,
        "MUXI_SECRET": SECRET,
        "METRICS_TOKEN": METRICS_TOKEN,
    }
    return Stage(tmp_path, variables, port)


@pytest.fixture
def production() -> Callable[[str], str]:
    """Give the text of the one block in docs/production.md that has this language."""

    def text(language: str) -> str:
        (block,) = [
            one for one in all_blocks() if (one.page, one.language) == ("docs/production.md", language)
        ]
        return block.text

    return text
