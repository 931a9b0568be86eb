"""`muxi-server init` and what formations need: offered on a terminal, fetched from a server that answers."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from muxi.cli import main
from muxi.cli.init import PROVISIONS
from muxi.cli.provider import CODE_RUNNER, RUNTIME
from muxi.config.load import load
from muxi.images.models import MODELS, named
from muxi.images.names import architecture
from tests.program import muxi_command
from tests.static_files import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Installation

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="Apptainer's stand-in, and a terminal of its own"
)

SIF = b"an image" * 300_000
WEIGHTS = b"weights" * 1000
DEADLINE = 60.0


@dataclass(frozen=True)
class Stage:
    """An empty installation with Apptainer, or what answers as it does, and a mirror's files."""

    installation: Installation
    files: Path
    programs: Path
    base: str

    def put(self, path: str, content: bytes) -> None:
        target = self.files / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def publish(self) -> None:
        self.put("latest.txt", b"1.20260928.0\n")
        self.put(f"1.20260928.0/{self.image.name}", SIF)
        for model in MODELS:
            for file in model.files:
                self.put(f"{model.repository}/resolve/main/{file}", WEIGHTS)

    @property
    def image(self) -> Path:
        name = f"muxi-runtime-1.20260928.0-linux-{architecture()}.sif"
        return self.installation.paths.data_dir / "runtimes" / name

    def weights(self, name: str) -> Path:
        model = named(name)
        return self.installation.paths.cache_dir / model.directory / "snapshots" / "main" / model.weights

    def config(self) -> str:
        return self.installation.config_file.read_text()


@pytest.fixture
def stage(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    files, programs = tmp_path / "mirror", tmp_path / "programs"
    files.mkdir()
    programs.mkdir()
    apptainer = programs / "apptainer"
    apptainer.write_text("#!/bin/sh\necho apptainer version 1.3.4\n")
    apptainer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")  # no engine
    with serving(files) as base:
        installation.configure(7900)
        with installation.config_file.open("a") as file:
            file.write(f"\nruntime: {{sif_base_url: '{base}', host_tools: false}}\n")
            file.write(f"download: {{models_url: '{base}', rce_url: '{base}', retries: 0}}\n")
        yield Stage(installation, files, programs, base)


class Terminal:
    """A person at a terminal: sees what is printed, and answers."""

    def __init__(self, *arguments: str) -> None:
        self._fd, theirs = os.openpty()
        self.process = subprocess.Popen(
            muxi_command(*arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = self.asked = ""

    def read_until(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while text not in self.seen:
            assert time.monotonic() < deadline, f"never seen: {text}\n{self.seen}"
            self.seen += self._more()

    def answer(self, question: str, line: str) -> None:
        self.read_until(question)
        said, _, self.seen = self.seen.partition(question)
        self.asked += said + question
        os.write(self._fd, f"{line}\n".encode())

    def end(self) -> int:
        while more := self._more():
            self.seen += more
        os.close(self._fd)
        return self.process.wait(DEADLINE)

    def _more(self) -> str:
        try:
            return os.read(self._fd, 65536).decode(errors="replace")
        except OSError:  # nobody has the other side any more
            return ""


def begun(*arguments: str) -> Terminal:
    """Begin `init` on a terminal, and answer all that is asked before the set-up."""
    terminal = Terminal("init", *arguments)
    for question in ("E/o [E]: ", "Server name [", "Port ["):
        terminal.answer(question, "")
    return terminal


def test_each_thing_is_asked_for_and_what_is_wanted_is_fetched(stage: Stage) -> None:
    stage.publish()
    terminal = begun()
    terminal.answer(f"about {len(SIF) / 1e6:.0f} MB)? Y/n [Y]: ", "")
    assert "Fetch now: MUXI runtime (an image), which runs formations that have agents" in terminal.asked
    assert "run on apptainer here" in terminal.asked
    terminal.answer("nomic-embed-text-v1.5, which finds what agents remember (about 1 MB)? Y/n [Y]: ", "n")
    terminal.answer("in many languages (about 1 MB)? y/N [N]: ", "y")
    assert terminal.end() == 0
    assert stage.image.read_bytes() == SIF
    assert stage.weights("multilingual").read_bytes() == WEIGHTS
    assert not stage.weights("lean").exists()
    assert "MUXI runtime (an image): here." in terminal.seen
    assert "Code runner: can't be fetched now" in terminal.seen, "its page was never published"
    assert "muxi-server start" in terminal.seen


def test_what_is_here_is_not_asked_for_again(stage: Stage) -> None:
    stage.publish()
    assert main.run(["init", "--yes", "--setup", "runtime", "--setup", "lean"]) == 0
    terminal = begun()
    terminal.answer("in many languages (about 1 MB)? y/N [N]: ", "")
    assert terminal.end() == 0
    assert "MUXI runtime" not in terminal.asked
    assert "nomic" not in terminal.asked


def test_without_a_network_one_sentence_says_so_and_init_succeeds(stage: Stage) -> None:
    text = stage.config()
    stage.installation.config_file.write_text(re.sub(r"http://127.0.0.1:\d+", "http://127.0.0.1:1", text))
    terminal = begun()
    assert terminal.end() == 0
    assert "What they need can't be fetched now: nobody answers." in terminal.seen
    assert "Fetch now" not in terminal.seen
    assert "Error" not in terminal.seen
    assert "muxi-server start" in terminal.seen
    assert not stage.installation.paths.data_dir.joinpath("runtimes").exists()


def test_a_server_that_is_silent_is_not_waited_for_long(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        text = re.sub(r"http://127.0.0.1:\d+", address, stage.config())
        stage.installation.config_file.write_text(text)
        terminal = begun()
        assert terminal.end() == 0
    assert "nobody answers" in terminal.seen


def test_without_a_terminal_nothing_is_asked_and_nobody_is_called(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.publish()
    monkeypatch.setattr("sys.stdin", io.StringIO("e\n\n7901\n"))
    assert main.run(["init"]) == 0
    assert "Fetch" not in capsys.readouterr().out
    assert not stage.installation.paths.data_dir.joinpath("runtimes").exists()


@pytest.mark.parametrize("option", ["--yes", "--non-interactive", "--no-setup"])
def test_who_wants_no_questions_gets_none(stage: Stage, option: str) -> None:
    stage.publish()
    terminal = begun(option) if option == "--no-setup" else Terminal("init", option)
    assert terminal.end() == 0
    assert "Fetch now" not in terminal.seen
    assert not stage.image.exists()


def test_what_is_named_is_fetched_without_a_question_and_a_failure_is_told(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.publish()
    assert main.run(["init", "--yes", "--setup", "all", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["setup_failed"] == ["rce"]
    assert "skills-rce" in captured.err or "code runner" in captured.err
    assert stage.image.read_bytes() == SIF
    assert stage.weights("lean").exists()
    assert stage.weights("multilingual").exists()


def test_the_code_runner_is_switched_on_once_it_is_here(stage: Stage) -> None:
    name = f"skills-rce-1.2.3-linux-{architecture()}.sif"
    before = stage.config()
    image = stage.installation.paths.data_dir / "rce" / name
    image.parent.mkdir(parents=True)
    image.write_bytes(SIF)
    assert main.run(["init", "--yes", "--setup", "rce"]) == 0
    token = load(stage.installation.paths).config.rce.auth_token
    assert re.fullmatch("rce_[0-9a-f]{64}", token)
    assert set(before.splitlines()) < set(stage.config().splitlines())
    assert main.run(["init", "--yes", "--setup", "rce"]) == 0
    assert load(stage.installation.paths).config.rce.auth_token == token


def test_what_this_machine_has_no_use_for_is_said(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    (stage.programs / "apptainer").write_text("#!/bin/sh\nexit 1\n")
    assert main.run(["init", "--yes", "--setup", "rce"]) == 1
    assert "'rce' is of no use here: there is neither Apptainer nor Docker." in capsys.readouterr().out


def test_ctrl_c_ends_the_fetching_and_leaves_nothing_half_made(stage: Stage) -> None:
    stage.publish()
    with stalling(stage) as (base, begun_to_send):
        text = re.sub(r"sif_base_url: '[^']*'", f"sif_base_url: '{base}'", stage.config())
        stage.installation.config_file.write_text(text)
        terminal = begun()
        terminal.answer("? Y/n [Y]: ", "y")
        terminal.answer("? Y/n [Y]: ", "n")
        terminal.answer("? y/N [N]: ", "n")
        assert begun_to_send.wait(DEADLINE)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
    assert "Stopped. What has come is kept" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert not stage.image.exists()
    stage.installation.config_file.write_text(
        re.sub(r"sif_base_url: '[^']*'", f"sif_base_url: '{stage.base}'", text)
    )
    assert main.run(["init", "--yes", "--setup", "runtime"]) == 0
    assert stage.image.read_bytes() == SIF


def test_the_names_are_those_of_the_provider() -> None:
    assert (RUNTIME, CODE_RUNNER, *(model.name for model in MODELS)) == PROVISIONS


@contextmanager
def stalling(stage: Stage) -> Iterator[tuple[str, threading.Event]]:
    """Serve the same files, but of the image no more than a half; the event says that it has come so far."""
    half_way, over = threading.Event(), threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.endswith(".sif") or self.headers.get("Range") == "bytes=0-0":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(SIF)))
            self.end_headers()
            self.wfile.write(SIF[: len(SIF) // 2])
            half_way.set()
            over.wait(DEADLINE)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(stage.files))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", half_way
        finally:
            over.set()
            server.shutdown()
            thread.join(30)
