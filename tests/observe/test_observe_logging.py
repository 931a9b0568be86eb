from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio

from muxi.observe.logging import LogSetup, configure_logging, log_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def configure(tmp_path: Path) -> Iterator[Callable[..., LogSetup]]:
    """Configure the process's logging, and put it back as it was."""
    root = logging.getLogger()
    level, config = root.level, structlog.get_config()
    setups = []

    def set_up(level: str = "info", style: str = "json") -> LogSetup:
        setups.append(configure_logging(level, style, tmp_path / "server.log"))  # type: ignore[arg-type]
        return setups[-1]

    yield set_up
    for setup in setups:
        setup.close()
    root.setLevel(level)
    structlog.configure(**config)


def written(setup: LogSetup, path: Path) -> list[dict[str, Any]]:
    setup.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_both_ways_of_logging_come_out_alike(configure: Callable[..., LogSetup], tmp_path: Path) -> None:
    setup = configure()
    with structlog.contextvars.bound_contextvars(request_id="r1", formation_id="my-bot"):
        structlog.get_logger().info("from us", port=8001)
        logging.getLogger("library").warning("from %s", "them")
    ours, theirs = written(setup, tmp_path / "server.log")
    for entry in (ours, theirs):
        assert entry.pop("time").endswith("Z")
    assert ours == {
        "level": "info",
        "event": "from us",
        "port": 8001,
        "request_id": "r1",
        "formation_id": "my-bot",
    }
    assert theirs == {"level": "warning", "event": "from them", "request_id": "r1", "formation_id": "my-bot"}


def test_the_level_can_be_changed(configure: Callable[..., LogSetup], tmp_path: Path) -> None:
    setup = configure("warn")
    log = structlog.get_logger()
    log.info("no")
    log.warning("yes")
    setup.set_level("debug")
    log.debug("now")
    with pytest.raises(ValueError, match="unknown log level"):
        setup.set_level("loud")
    assert [entry["event"] for entry in written(setup, tmp_path / "server.log")] == ["yes", "now"]


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "hypercorn.error", "quart.app"])
def test_libraries_are_heard_from_warning_on(
    configure: Callable[..., LogSetup], tmp_path: Path, name: str
) -> None:
    setup = configure("debug")
    logging.getLogger(name).info("GET https://example.org/?key=x")
    logging.getLogger(name).warning("trouble")
    assert [entry["event"] for entry in written(setup, tmp_path / "server.log")] == ["trouble"]


def test_an_exception_is_logged_whole_but_without_values(
    configure: Callable[..., LogSetup], tmp_path: Path
) -> None:
    setup = configure()
    local = "local-value"
    try:
        raise RuntimeError("sk_0123456789abcdef0123456789abcdef")
    except RuntimeError:
        structlog.get_logger().exception("failed")
    (entry,) = written(setup, tmp_path / "server.log")
    assert "Traceback" in entry["exception"]
    assert "RuntimeError: [redacted]" in entry["exception"]
    assert f"= {local!r}" not in entry["exception"]


def test_text_lines(configure: Callable[..., LogSetup], tmp_path: Path) -> None:
    setup = configure(style="text")
    structlog.get_logger().info("started\nforged", port=1, token="t")
    setup.close()
    (line,) = (tmp_path / "server.log").read_text().splitlines()
    assert line.endswith(r"info     started\x0aforged  port=1 token=[redacted]")


def test_configuring_again_replaces_the_first(configure: Callable[..., LogSetup], tmp_path: Path) -> None:
    configure()
    setup = configure()
    structlog.get_logger().info("once")
    assert [entry["event"] for entry in written(setup, tmp_path / "server.log")] == ["once"]


async def test_the_context_follows_tasks(configure: Callable[..., LogSetup], tmp_path: Path) -> None:
    setup = configure()

    async def work() -> None:
        structlog.get_logger().info("in a child")

    async with trio.open_nursery() as nursery:
        with structlog.contextvars.bound_contextvars(formation_id="my-bot"):
            nursery.start_soon(work)
    (entry,) = written(setup, tmp_path / "server.log")
    assert entry["formation_id"] == "my-bot"


PROGRAM = """
import structlog
from muxi.observe.logging import configure_logging
configure_logging("info", "text", "stderr")
for number in range(1000):
    structlog.get_logger().info("line", number=number)
"""


def test_a_program_that_ends_has_written_everything(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, check=True, timeout=60, env={**os.environ}
    )
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1000
    assert lines[-1].endswith("line  number=999")
    assert "\x1b" not in done.stderr.decode()  # colours are for terminals


BLOCKED = """
import structlog, sys
from muxi.observe.logging import configure_logging
setup = configure_logging("info", "json", "stderr")
for number in range(12_000):
    structlog.get_logger().info("line", number=number)
print("went on", flush=True)
sys.stdin.read(1)
setup.close(0.1)
"""


def test_a_terminal_that_takes_nothing_stops_nobody() -> None:
    read, write = os.pipe()  # nobody reads it
    with subprocess.Popen(
        [sys.executable, "-c", BLOCKED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=write
    ) as child:
        os.close(write)
        assert child.stdout is not None
        assert child.stdout.readline() == b"went on\n"
        out, _ = child.communicate(b"x", timeout=60)
        assert child.returncode == 0
        assert out == b""
    os.close(read)


def test_a_command_logs_to_a_stream_for_as_long_as_it_runs() -> None:
    before, stream = structlog.get_config(), io.StringIO()
    with log_to(stream, "warning"):
        structlog.get_logger().info("not shown")
        structlog.get_logger().warning("shown", token="CANARY")
    assert structlog.get_config() == before
    assert "shown" in stream.getvalue()
    assert "not shown" not in stream.getvalue()
    assert "CANARY" not in stream.getvalue()
    with pytest.raises(ValueError, match="unknown log level"), log_to(stream, "loud"):
        pass
