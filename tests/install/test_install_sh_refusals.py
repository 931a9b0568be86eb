"""What install.sh refuses: a sentence each, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from build.options import FILE as BUILD_OPTIONS
from build.options import read_options
from build.release import SUMS, write_sums
from tests.install.script import FILE, SCRIPT, SUPPORTED, install, left, refused, stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="install.sh is for Linux and macOS")
GLIBC = read_options(BUILD_OPTIONS.read_text("utf-8")).limits.glibc
NEEDED = ("getconf", "uname", "id", "sed", "sort", "head", "mkdir", "mktemp", "chmod", "cut", "cp", "rm")
TOO_OLD = f"{GLIBC[0]}.{GLIBC[1] - 1}"


@pytest.fixture
def old(home: Path) -> Iterator[Path]:
    """An installation that is there already; the test ends with just this one."""
    place = home / ".local" / "bin"
    place.mkdir(parents=True)
    (place / "muxi-server").write_text("the old one")
    yield place
    assert (place / "muxi-server").read_text() == "the old one"
    assert left(home) == {".local/bin/muxi-server"}
    assert [path.name for path in place.iterdir()] == ["muxi-server"]


@pytest.mark.usefixtures("old")
def test_a_damaged_file(home: Path, release: Path) -> None:
    with (release / FILE).open("ab") as file:
        file.write(b"x")
    refused(install(home, "--user", "--from", str(release)), "damaged")


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(
    "sums", ["", f"{'0' * 64}  {FILE}.tar.gz\n", "<html>Not here</html>\n", f"{'0' * 63}  {FILE}\n"]
)
def test_a_file_without_a_checksum(home: Path, release: Path, sums: str) -> None:
    (release / SUMS).write_text(sums)
    refused(install(home, "--user", "--from", str(release)), "no checksum")


@pytest.mark.usefixtures("old")
def test_a_file_that_does_not_run(home: Path, release: Path) -> None:
    (release / FILE).write_text("#!/bin/sh\necho no such instruction >&2\nexit 1\n")
    write_sums(release)
    refused(
        install(home, "--user", "--from", str(release)), "does not run on this machine: no such instruction"
    )


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(
    ("program", "script"),
    [
        ("curl", 'echo "curl: (6) Could not resolve host" >&2; exit 6'),
        ("curl", 'echo "Warning: again" >&2; echo "curl: (22) error: 404" >&2; exit 22'),
        ("curl", "exit 7"),
    ],
)
def test_no_network(home: Path, tmp_path: Path, program: str, script: str) -> None:
    path = stand_in(tmp_path / "commands", program, script)
    refused(install(home, "--user", path=path), f"/latest/download/{SUMS} could not be downloaded: ")


def test_the_address_of_a_version(home: Path, tmp_path: Path) -> None:
    path = stand_in(tmp_path / "commands", "curl", "exit 6")
    done = install(
        home, "--user", "--version", "v1.20261122.0", "--from", "https://releases.test/", path=path
    )
    refused(done, f"https://releases.test/download/v1.20261122.0/{SUMS} could not")


@pytest.mark.parametrize("machine", ["riscv64", "i686", "armv7l"])
def test_another_processor(home: Path, tmp_path: Path, machine: str) -> None:
    path = stand_in(tmp_path / "commands", "uname", f"[ $1 = -s ] && echo Linux || echo {machine}")
    refused(install(home, path=path), f"no muxi-server for {machine}")


def test_another_system(home: Path, tmp_path: Path) -> None:
    path = stand_in(tmp_path / "commands", "uname", "echo FreeBSD")
    refused(install(home, path=path), "no muxi-server for FreeBSD")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ("echo glibc 2.9", "glibc is 2.9"),
        (f"echo glibc {TOO_OLD}", f"glibc is {TOO_OLD}"),
        ("exit 1", "has no glibc"),
        ("echo musl", "has no glibc"),
    ],
)
def test_a_system_that_is_too_old_is_told_before_anything_is_fetched(
    home: Path, tmp_path: Path, answer: str, what: str
) -> None:
    stand_in(tmp_path / "commands", "curl", f"touch {tmp_path}/fetched; exit 6")
    refused(install(home, path=stand_in(tmp_path / "commands", "getconf", answer)), what)
    assert not (tmp_path / "fetched").exists()
    assert list(home.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
@pytest.mark.parametrize("version", [".".join(map(str, GLIBC)), f"{GLIBC[0]}.{GLIBC[1] + 1}", "3.0", "2.100"])
def test_one_that_is_new_enough_is_not_refused(home: Path, tmp_path: Path, version: str) -> None:
    path = stand_in(tmp_path / "commands", "getconf", f"echo glibc {version}")
    assert install(home, "--dry-run", path=path).returncode == 0


def test_a_file_where_the_directory_should_be(home: Path, release: Path) -> None:
    (home / ".local").write_text("a file")
    refused(install(home, "--user", "--from", str(release)), "may not write to")
    assert left(home) == {".local"}


def test_a_directory_where_the_program_should_be(home: Path, release: Path) -> None:
    place = home / ".local" / "bin" / "muxi-server"
    place.mkdir(parents=True)
    refused(install(home, "--user", "--from", str(release)), "muxi-server is a directory")
    assert list(place.iterdir()) == []


def test_a_directory_of_somebody_else(tmp_path: Path) -> None:
    """As nobody, where this runs as root, whom no permission binds."""
    command = ["/bin/sh", "-s", "--", "--system"]
    more = {}
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("setpriv is not installed (Debian: util-linux)")
        command = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    else:
        more = {"MUXI_INSTALL_ROOT": str(tmp_path)}
        tmp_path.chmod(0o555)
    done = subprocess.run(
        command,
        input=SCRIPT.read_text("utf-8"),
        env={"PATH": os.environ["PATH"], **more},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    tmp_path.chmod(0o755)
    refused(done, "you may not write to")
    assert "sudo" in done.stderr


def test_a_home_that_is_unknown(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", SCRIPT, "--user"],
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    refused(done, "HOME is not set")


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("status", ["23"])
def test_a_disk_that_fills_up_while_it_is_fetched(home: Path, tmp_path: Path, status: str) -> None:
    path = stand_in(
        tmp_path / "commands", "curl", f"echo 'curl: (23) Failed writing body' >&2; exit {status}"
    )
    refused(install(home, "--user", path=path), "could not be written to")


@pytest.mark.usefixtures("old")
def test_a_disk_that_fills_up_while_it_is_copied(home: Path, release: Path, tmp_path: Path) -> None:
    path = stand_in(tmp_path / "commands", "cp", "echo 'cp: No space left on device' >&2; exit 1")
    refused(install(home, "--user", "--from", str(release), path=path), "could not be written to")


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """A file system with a few kilobytes of room where the program is to be."""
    place = home / ".local" / "bin"
    place.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system can't be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_disk_that_is_really_full(home: Path, release: Path, small_disk: Path) -> None:
    (release / FILE).write_bytes(b"#!/bin/sh\n" + b"#" * 100_000)
    write_sums(release)
    refused(install(home, "--user", "--from", str(release)), "could not be written to")
    assert list(small_disk.iterdir()) == []


@contextmanager
def heard(number: signal.Signals) -> Iterator[None]:
    """Have children hear a signal, which they would not if nohup, say, has us ignore it."""
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(("name", "status"), [("HUP", 129), ("INT", 130), ("TERM", 143)])
def test_it_is_interrupted_half_way(home: Path, tmp_path: Path, name: str, status: int) -> None:
    script = f'while [ "$1" != -o ]; do shift; done; echo half >"$2"; touch {tmp_path}/begun; kill -{name} 0'
    with heard(signal.Signals[f"SIG{name}"]):
        done = install(home, "--user", path=stand_in(tmp_path / "commands", "curl", script))
    assert (tmp_path / "begun").exists()
    assert (done.returncode, done.stdout) == (status, "")
    assert "Error" not in done.stderr


@pytest.mark.parametrize("missing", ["curl and wget", "sha256sum, shasum and openssl"])
def test_a_tool_that_is_missing(home: Path, release: Path, tmp_path: Path, missing: str) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in NEEDED:
        (tools / name).symlink_to(shutil.which(name) or "")
    if missing == "curl and wget":
        done = install(home, "--user", path=str(tools))
        refused(done, "neither curl nor wget is installed")
    else:
        done = install(home, "--user", "--from", str(release), path=str(tools))
        refused(done, "nothing here can make a SHA-256 checksum")
    assert left(home) == set()


def test_a_directory_that_is_no_release(home: Path, tmp_path: Path) -> None:
    refused(install(home, "--user", "--from", str(tmp_path)), f"no readable file {SUMS}")
    assert left(home) == set()


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--frobnicate"], 2), (["--version"], 1), (["--version", "latest; rm"], 1)]
)
def test_wrong_arguments(home: Path, arguments: list[str], code: int) -> None:
    done = install(home, *arguments)
    assert done.returncode == code
    assert done.stderr.startswith("Error: ")
    assert list(home.iterdir()) == []
