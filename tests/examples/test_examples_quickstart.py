"""`make run`'s driver, from nothing to Ctrl-C, and again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SECONDS = 180


class Ended(NamedTuple):
    status: int
    out: str
    err: str


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def quickstart(data: Path, port: str, end_with: signal.Signals = signal.SIGINT) -> Ended:
    """Run it until it has said its last line, then send it a signal."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MUXI_")}
    environment = {
        **inherited,
        "MUXI_CONFIG_DIR": str(data),
        "MUXI_DATA_DIR": str(data),
        "MUXI_LOG_DIR": str(data / "logs"),
        "MUXI_PORT_START": "19400",
        "MUXI_PORT_END": "19700",
        "PORT": port,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    with (
        (data.parent / "err").open("w+") as errors,
        subprocess.Popen(
            [sys.executable, "examples/quickstart.py"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        ) as process,
    ):
        assert process.stdout is not None
        watchdog = threading.Timer(SECONDS, process.terminate)
        watchdog.start()
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C ends"):
                process.send_signal(end_with)
        status = process.wait()
        watchdog.cancel()
        watchdog.join()
        errors.seek(0)
        return Ended(status, "".join(lines), errors.read())


def test_from_nothing_to_the_answer_and_again(tmp_path: Path) -> None:
    data, port = tmp_path / "data", str(free_port())
    first = quickstart(data, port)
    assert (first.status, first.err) == (0, "")
    secret = re.search(r"Secret: (muxi_sk_[0-9a-f]+)", first.out)
    assert secret is not None
    assert "Deployed hello-agent: running" in first.out
    assert "Hello! You said: What are you?." in first.out
    assert f"Serving on http://127.0.0.1:{port}\n" in first.out
    second = quickstart(data, port, signal.SIGTERM)
    assert (second.status, second.err) == (0, "")
    assert "hello-agent is deployed already." in second.out
    assert "Hello! You said" in second.out
    assert secret[1] not in second.out


def test_a_taken_port_is_told_with_the_way_to_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = quickstart(tmp_path / "data", str(port))
    assert ended.status == 1
    assert f"Port {port} is taken" in ended.err
    assert "PORT=" in ended.err
    assert "Traceback" not in ended.err


def test_a_port_that_is_none_is_told(tmp_path: Path) -> None:
    for port in ("0", "many"):
        ended = quickstart(tmp_path / "data", port)
        assert ended.status in {1, 2}
        assert ended.err.startswith("Error: ")
        assert "Traceback" not in ended.err
