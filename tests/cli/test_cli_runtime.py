"""`muxi-server runtime …` on a data directory without a server, with a mirror that really answers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import msgspec
import pytest

from muxi.cli import main
from muxi.cli.root import MODELS as MODEL_COMMANDS
from muxi.cli.root import RUNTIME
from muxi.cli.runtime_parts import progress
from muxi.environment.record import NAME as record_file  # noqa: N811 - it reads as what it is
from muxi.environment.record import Record
from muxi.formation.versions import VersionEntry, VersionFile, save
from muxi.images.models import named
from muxi.images.names import architecture
from muxi.runtime.pin import Pin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Installation

SIF = b"an image" * 1000


@dataclass(frozen=True)
class Shop:
    """An installation, and the directory that its mirror serves."""

    installation: Installation
    files: Path

    def put(self, path: str, content: bytes = SIF) -> None:
        target = self.files / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def publish(self, version: str, variant: str = "") -> None:
        self.put(f"{version}/{self.name(version, variant)}")

    def name(self, version: str, variant: str = "") -> str:
        return f"muxi-runtime-{version}{variant and '-' + variant}-linux-{architecture()}.sif"

    @property
    def runtimes(self) -> Path:
        return self.installation.paths.data_dir / "runtimes"

    def release(self, formation_id: str, pin: Pin) -> None:
        home = self.installation.paths.data_dir / "formations" / formation_id
        home.mkdir(parents=True)
        entry = VersionEntry(version=1, deployed_at="2026-01-01T00:00:00+00:00", bundle_hash="x", runtime=pin)
        save(home, VersionFile(current_version=1, current=entry))

    def age(self) -> None:
        path = self.runtimes / "registry.json"
        known = json.loads(path.read_text())
        path.write_text(json.dumps({k: {**v, "used_at": "2020-01-01T00:00:00Z"} for k, v in known.items()}))


@pytest.fixture
def shop(installation: Installation, tmp_path: Path) -> Iterator[Shop]:
    files = tmp_path / "mirror"
    files.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(files))) as server:
        base = f"http://127.0.0.1:{server.server_address[1]}"
        installation.configure(7900)
        with installation.config_file.open("a") as file:
            file.write(
                f"\nruntime:\n  sif_base_url: {base}\ndownload:\n  models_url: {base}\n  rce_url: {base}\n"
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Shop(installation, files)
        finally:
            server.shutdown()
            thread.join(30)


@pytest.mark.parametrize(
    "names",
    [*(["runtime", n] for n in RUNTIME), *(["runtime", "models", n] for n in MODEL_COMMANDS)],
    ids=" ".join,
)
def test_every_command_has_help(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["help", *names]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: muxi-server {' '.join(names)}")


def test_the_latest_is_installed_and_listed_with_who_uses_it(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.put("latest.txt", b"1.20260928.0\n")
    shop.publish("1.20260928.0")
    assert main.run(["runtime", "install"]) == 0
    captured = capsys.readouterr()
    path = shop.runtimes / shop.name("1.20260928.0")
    assert captured.out == f"1.20260928.0: {path}\n"
    assert captured.err == "Downloading muxi-runtime 1.20260928.0\n"
    assert path.read_bytes() == SIF

    shop.release("my-agent", Pin(runtime="apptainer", version="1.20260928.0", reason="it is the first"))
    assert main.run(["runtime", "list"]) == 0
    out = capsys.readouterr().out
    assert "native" in out
    assert "1.20260928.0  7.81K" in out
    assert "my-agent   apptainer  1.20260928.0  it is the first" in out

    assert main.run(["runtime", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"][0]["used_by"] == ["my-agent"]
    assert found["runtimes"][0]["name"] == "native"
    assert found["formations"] == [
        {"id": "my-agent", "runtime": "apptainer", "version": "1.20260928.0", "reason": "it is the first"}
    ]


def test_install_asks_the_mirror_also_where_a_server_may_not(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shop.installation.config_file.read_text()
    shop.installation.config_file.write_text(text.replace("runtime:\n", "runtime:\n  auto_download: false\n"))
    shop.put("versions.txt", b"1.2.3\n1.2.10\n")
    shop.publish("1.2.10", "cuda")
    assert main.run(["runtime", "install", "1.2:cuda", "--json"]) == 0
    captured = capsys.readouterr()
    (one,) = json.loads(captured.out)["installed"]
    assert (one["name"], one["size"], captured.err) == ("1.2.10:cuda", len(SIF), "")


def test_what_is_logged_does_not_come_between_the_json(shop: Shop) -> None:
    """In a process of its own: what is logged goes by the descriptors."""
    asked = subprocess.run(
        [sys.executable, "-m", "muxi", "runtime", "list", "--json", "--log-level", "debug"],
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert json.loads(asked.stdout)["images"] == []


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["install", "1.2.3"], "no muxi-runtime-1.2.3-linux"),
        (["install", "1:rocm"], "unknown variant"),
        (["install", "rce"], "code runner could not be learned"),
        (["remove", "1.2.3"], "is not installed"),
        (["pin", "1.2.3"], "is not installed"),
        (["models", "install", "huge"], "no model 'huge'"),
    ],
)
def test_what_can_not_be_done_is_said_with_a_cure(
    argv: list[str], says: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["runtime", *argv]) == 1
    err = capsys.readouterr().err
    assert says in err
    assert "What to do: " in err


def test_what_releases_need_is_neither_removed_nor_pruned(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("1.0.0", "1.0.1", "1.0.2"):
        shop.publish(version)
    assert main.run(["runtime", "install", "1.0.0", "1.0.1", "1.0.2"]) == 0
    shop.release("my-agent", Pin(runtime="docker", version="1.0.0"))
    assert main.run(["runtime", "pin", "1.0.1"]) == 0
    capsys.readouterr()

    assert main.run(["runtime", "prune"]) == 0
    assert capsys.readouterr().out.startswith("Nothing to remove")
    shop.age()
    assert main.run(["runtime", "prune", "--dry-run"]) == 0
    assert capsys.readouterr().out == "Would remove 1.0.2 (7.81K)\n"
    assert (shop.runtimes / shop.name("1.0.2")).exists()
    assert main.run(["runtime", "prune", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["images"]] == ["1.0.2"]

    assert main.run(["runtime", "remove", "1.0.0"]) == 1
    assert "a release is pinned to it" in capsys.readouterr().err
    assert main.run(["runtime", "remove", "1.0.1"]) == 1
    assert main.run(["runtime", "pin", "--off", "1.0.1"]) == 0
    assert main.run(["runtime", "remove", "1.0.1"]) == 0
    assert main.run(["runtime", "remove", "--force", "1.0.0"]) == 0
    assert list(shop.runtimes.glob("*.sif")) == []


def make_environment(shop: Shop, key: str) -> Path:
    path = shop.installation.paths.data_dir / "environments" / key
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python").symlink_to(sys.executable)
    record = Record(
        key=key,
        python="3.11.7",
        interpreter=sys.executable,
        source="requirements.txt",
        requirements=("tiny==1.0",),
        installer="pip",
        packages=1,
        size=2048,
        created_at=0.0,
    )
    (path / record_file).write_bytes(msgspec.json.encode(record))
    os.utime(path / record_file, (0, 0))
    return path


@pytest.mark.skipif(os.name != "posix", reason="environments are laid out otherwise on Windows")
def test_environments_are_shown_with_who_uses_them_and_the_unused_pruned(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    used, unused = (make_environment(shop, key * 24) for key in "ab")
    shop.release("my-agent", Pin(runtime="native", artifact=used.name))
    assert main.run(["runtime", "list"]) == 0
    out = capsys.readouterr().out
    assert f"{used.name}  3.11.7  1         2K    1970-01-01T00:00:00.000Z  my-agent" in out
    assert main.run(["runtime", "prune", "--dry-run"]) == 0
    assert capsys.readouterr().out == f"Would remove {unused.name} (2K)\n"
    assert unused.exists()
    assert main.run(["runtime", "prune", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["environments"]] == [unused.name]
    assert used.exists()
    assert not unused.exists()


def test_nothing_is_pruned_where_it_is_not_known_what_is_used(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.publish("1.0.0")
    assert main.run(["runtime", "install", "1.0.0"]) == 0
    shop.age()
    home = shop.installation.paths.data_dir / "formations" / "my-agent"
    home.mkdir(parents=True)
    (home / "version.json").write_text("{ half")
    assert main.run(["runtime", "prune"]) == 1
    assert "version.json is damaged" in capsys.readouterr().err
    assert (shop.runtimes / shop.name("1.0.0")).exists()


def test_models_are_installed_when_asked_for(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    model = named("multilingual")
    for file in model.files:
        shop.put(f"{model.repository}/resolve/main/{file}")
    assert main.run(["runtime", "models", "install", "multilingual"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Xenova/multilingual-e5-small: ")
    assert main.run(["runtime", "models", "list", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert {one["name"]: one["installed"] for one in models} == {"lean": False, "multilingual": True}


def test_the_code_runner_is_installed_by_its_name(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"skills-rce-1.4.0-linux-{architecture()}.sif"
    shop.put(f"download/v1.4.0/{name}")
    assert main.run(["runtime", "install", "rce:1.4.0"]) == 0
    assert capsys.readouterr().out == f"rce: {shop.installation.paths.data_dir / 'rce' / name}\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_live_line_on_a_terminal_and_a_line_a_download_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for out in (terminal, pipe):
        with progress(stream=out) as report:
            report("downloading_sif", "Downloading a: 10 % of 5 MB\x1b[31m", progress=10)
            report("downloading_sif", "Downloading a: 20 % of 5 MB", progress=20)
            report("downloading_sif", "Downloading b: 1 %", progress=1)
    assert pipe.getvalue() == "Downloading a: 10 % of 5 MB\N{REPLACEMENT CHARACTER}[31m\nDownloading b: 1 %\n"
    assert "\x1b[31m" not in terminal.getvalue()
    with progress(quiet=True, stream=pipe) as report:
        report("downloading_sif", "nobody hears this")
    assert "nobody" not in pipe.getvalue()
