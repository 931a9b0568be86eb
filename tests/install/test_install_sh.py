"""install.sh against a release in a directory of ours: what it installs, and what it refuses."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from build.release import SUMS, write_sums
from tests.program import BINARY

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "install" / "install.sh"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
FILE = f"muxi-server-{sys.platform}-{ARCHITECTURES.get(platform.machine(), '')}"

pytestmark = pytest.mark.skipif(
    sys.platform not in {"linux", "darwin"} or platform.machine() not in ARCHITECTURES,
    reason="install.sh is for Linux and macOS",
)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The files of a release; a script for the binary, unless there is a real one."""
    directory = tmp_path / "release"
    directory.mkdir()
    if BINARY:
        shutil.copy(BINARY, directory / FILE)
    else:
        (directory / FILE).write_text("#!/bin/sh\necho 'MUXI Server 1.20261122.0'\n")
    write_sums(directory)
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    return directory


def install(
    home: Path, *arguments: str, path: str | None = None, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), *arguments],
        env={"HOME": str(home), "PATH": path or os.environ["PATH"], "SHELL": "/bin/bash", **(more or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def stand_in(directory: Path, name: str, script: str) -> str:
    """Put a command before all others; gives the PATH."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


def left(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()}


def refused(done: subprocess.CompletedProcess[str], what: str) -> None:
    assert done.returncode == 1, done.stdout
    assert what in done.stderr
    assert "What to do: " in done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr


def test_it_is_installed_for_the_user_and_runs(home: Path, release: Path) -> None:
    done = install(home, "--user", "--from", str(release))
    assert done.returncode == 0, done.stderr
    installed = home / ".local" / "bin" / "muxi-server"
    assert left(home) == {".local/bin/muxi-server"}
    told = subprocess.run([installed, "version"], capture_output=True, text=True, check=True).stdout
    assert told.startswith("MUXI Server 1.")
    assert told.splitlines()[0] in done.stdout
    assert f'export PATH="{installed.parent}:$PATH"' in done.stdout


def test_it_is_installed_for_all(home: Path, release: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    done = install(home, "--system", "--from", str(release), more={"MUXI_INSTALL_ROOT": str(root)})
    assert done.returncode == 0, done.stderr
    assert left(root) == {"usr/local/bin/muxi-server"}


def test_another_one_takes_the_place_of_the_first(home: Path, release: Path) -> None:
    place = home / ".local" / "bin"
    place.mkdir(parents=True)
    (place / "muxi-server").write_text("the old one")
    assert install(home, "--user", "--from", str(release)).returncode == 0
    assert (place / "muxi-server").read_bytes() == (release / FILE).read_bytes()


def test_a_dry_run_does_nothing(home: Path, release: Path) -> None:
    done = install(home, "--user", "--dry-run", "--from", str(release))
    assert (done.returncode, done.stderr) == (0, "")
    assert FILE in done.stdout
    assert left(home) == set()


def test_a_damaged_file_is_refused_and_the_old_one_stays(home: Path, release: Path) -> None:
    place = home / ".local" / "bin"
    place.mkdir(parents=True)
    (place / "muxi-server").write_text("the old one")
    with (release / FILE).open("ab") as file:
        file.write(b"x")
    refused(install(home, "--user", "--from", str(release)), "damaged")
    assert (place / "muxi-server").read_text() == "the old one"
    assert left(home) == {".local/bin/muxi-server"}


def test_a_file_without_a_checksum_is_refused(home: Path, release: Path) -> None:
    (release / SUMS).write_text(f"{'0' * 64}  {FILE}.tar.gz\n")
    refused(install(home, "--user", "--from", str(release)), "no checksum")


def test_a_file_that_does_not_run_is_not_installed(home: Path, release: Path) -> None:
    (release / FILE).write_text("#!/bin/sh\necho no such instruction >&2\nexit 1\n")
    write_sums(release)
    refused(
        install(home, "--user", "--from", str(release)), "does not run on this machine: no such instruction"
    )
    assert left(home) == set()


def test_no_network_is_one_sentence(home: Path, tmp_path: Path) -> None:
    path = stand_in(tmp_path / "commands", "curl", "exit 6")
    refused(install(home, "--user", path=path), f"/latest/download/{SUMS} could not be downloaded")
    assert left(home) == set()


def test_the_address_of_a_version(home: Path, tmp_path: Path) -> None:
    path = stand_in(tmp_path / "commands", "curl", "exit 6")
    done = install(home, "--user", "--version", "v1.20261122.0", "--from", "https://releases.test", path=path)
    refused(done, f"https://releases.test/download/v1.20261122.0/{SUMS} could not")


@pytest.mark.parametrize(
    ("machine", "what"), [("riscv64", "no muxi-server for riscv64"), ("i686", "no muxi-server for i686")]
)
def test_another_processor_is_refused(home: Path, tmp_path: Path, machine: str, what: str) -> None:
    path = stand_in(tmp_path / "commands", "uname", f"[ $1 = -s ] && echo Linux || echo {machine}")
    refused(install(home, path=path), what)


def test_another_system_is_refused(home: Path, tmp_path: Path) -> None:
    refused(
        install(home, path=stand_in(tmp_path / "commands", "uname", "echo FreeBSD")),
        "no muxi-server for FreeBSD",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
@pytest.mark.parametrize(
    ("answer", "what"),
    [("echo glibc 2.9", "glibc is 2.9"), ("echo glibc 2.31", "glibc is 2.31"), ("exit 1", "has no glibc")],
)
def test_a_system_that_is_too_old_is_refused(home: Path, tmp_path: Path, answer: str, what: str) -> None:
    refused(install(home, path=stand_in(tmp_path / "commands", "getconf", answer)), what)


def test_a_directory_that_can_t_be_written_is_refused(home: Path, release: Path) -> None:
    (home / ".local").write_text("a file where a directory should be")
    refused(install(home, "--user", "--from", str(release)), "may not write to")


def test_a_directory_that_is_no_release_is_refused(home: Path, tmp_path: Path) -> None:
    refused(install(home, "--user", "--from", str(tmp_path)), f"no readable file {SUMS}")


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--frobnicate"], 2), (["--version"], 1), (["--version", "latest; rm"], 1)]
)
def test_wrong_arguments_are_told(home: Path, arguments: list[str], code: int) -> None:
    done = install(home, *arguments)
    assert done.returncode == code
    assert done.stderr.startswith("Error: ")


def test_half_a_download_of_the_script_does_nothing(home: Path, release: Path, tmp_path: Path) -> None:
    text = SCRIPT.read_text("utf-8")
    for end in (len(text) // 3, len(text) // 2, text.rindex("main")):
        half = tmp_path / "half.sh"
        half.write_text(text[:end])
        subprocess.run(
            ["/bin/sh", half, "--user", "--from", release],
            env={"HOME": str(home)},
            capture_output=True,
            check=False,
        )
        assert left(home) == set()


def test_the_oldest_glibc_is_that_of_the_build() -> None:
    found = re.search(r"^GLIBC=([0-9.]+)", SCRIPT.read_text("utf-8"), re.MULTILINE)
    built = re.search(r"^glibc = (.*)$", (ROOT / "build" / "nuitka.cfg").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    assert built is not None
    assert found[1] == built[1]


def test_shellcheck_finds_nothing() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (Debian: shellcheck)")
    scripts = [SCRIPT, *(ROOT / "install" / "debian").iterdir(), ROOT / "requirements" / "make-venv"]
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert done.stdout == ""
