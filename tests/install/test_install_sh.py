"""install.sh against a release in a directory of ours, and on a server of ours: what it installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from build.options import FILE as BUILD_OPTIONS
from build.release import write_sums
from tests.install.script import FILE, PROGRAM, ROOT, SCRIPT, SUPPORTED, install, left, stand_in
from tests.static_files import serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="install.sh is for Linux and macOS")
#: As POSIX shells go: Debian's, GNU's as `sh`, BusyBox's, and what macOS has had for the user since 10.15.
SHELLS = (["dash"], ["bash", "--posix"], ["busybox", "sh"], ["zsh", "--emulate", "sh"])


def test_it_is_installed_for_the_user_and_runs(home: Path, release: Path) -> None:
    done = install(home, "--user", "--from", str(release))
    assert done.returncode == 0, done.stderr
    installed = home / ".local" / "bin" / "muxi-server"
    assert left(home) == {".local/bin/muxi-server"}
    told = subprocess.run([installed, "version"], capture_output=True, text=True, check=True).stdout
    assert told.startswith("MUXI Server 1.")
    assert told.splitlines()[0] in done.stdout
    assert f'export PATH="{installed.parent}:$PATH"' in done.stdout


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_any_posix_shell_will_do(home: Path, release: Path, shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    done = install(home, "--user", "--from", str(release), shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert left(home) == {".local/bin/muxi-server"}


@pytest.mark.parametrize("program", ["curl", "wget"])
@pytest.mark.parametrize("version", ["", "1.20261122.0"])
def test_it_is_fetched_from_a_server(
    home: Path, release: Path, tmp_path: Path, version: str, program: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    place = tmp_path / "www" / ("latest/download" if not version else f"download/v{version}")
    place.parent.mkdir(parents=True)
    release.rename(place)
    # Only the commands that are needed, and one of the two that fetch.
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in (
        f"{program} getconf uname id sed sort head tail mkdir mktemp chmod cut mv rm sha256sum shasum".split()
    ):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    with serving(tmp_path / "www") as address:
        arguments = ["--version", version] if version else []
        done = install(home, "--user", "--from", address, *arguments, path=str(tools))
    assert (done.returncode, done.stderr) == (0, "")
    assert left(home) == {".local/bin/muxi-server"}


def test_https_is_never_left_for_less(home: Path, tmp_path: Path) -> None:
    path = stand_in(tmp_path / "commands", "curl", f'echo "$*" >>{tmp_path}/called; exit 6')
    install(home, "--user", path=path)
    install(home, "--user", "--from", "http://127.0.0.1:9", path=path)
    first, second = (tmp_path / "called").read_text().splitlines()
    assert "--proto =https" in first
    assert first.endswith("/SHA256SUMS https://github.com/muxi-ai/server/releases/latest/download/SHA256SUMS")
    assert "--proto" not in second


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
    assert (place / "muxi-server").read_bytes() == PROGRAM


def test_a_running_one_is_replaced_under_its_feet(home: Path, release: Path, tmp_path: Path) -> None:
    place = home / ".local" / "bin"
    place.mkdir(parents=True)
    shutil.copy(shutil.which("sleep") or "", place / "muxi-server")
    running = subprocess.Popen([place / "muxi-server", "60"])
    try:
        assert install(home, "--user", "--from", str(release)).returncode == 0
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()
    assert (place / "muxi-server").read_bytes() == PROGRAM


def test_a_dry_run_does_nothing(home: Path, release: Path) -> None:
    done = install(home, "--user", "--dry-run", "--from", str(release))
    assert (done.returncode, done.stderr) == (0, "")
    assert FILE in done.stdout
    assert list(home.iterdir()) == []


def test_nothing_is_asked_where_nobody_can_answer(home: Path, release: Path) -> None:
    done = install(home, "--user", "--non-interactive", "--from", str(release))
    assert done.returncode == 0
    assert "[y/N]" not in done.stdout
    assert left(home) == {".local/bin/muxi-server"}


def test_nothing_is_sent_to_anybody() -> None:
    """It fetches two files; there is no other word with a network in it."""
    text = SCRIPT.read_text("utf-8")
    assert len(re.findall(r"\$\((?:curl|wget) ", text)) == 2
    assert not re.findall(r"--data|--post|-X |telemetry|ip-api|/dev/tcp|\bnc\b", text)


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
    built = re.search(r"^glibc = (.*)$", BUILD_OPTIONS.read_text("utf-8"), re.MULTILINE)
    assert found is not None
    assert built is not None
    assert found[1] == built[1]


def test_the_program_that_is_there_is_told_of(home: Path, release: Path) -> None:
    (release / FILE).write_bytes(b"#!/bin/sh\necho 'MUXI Server 1.20270101.0'\necho more\n")
    write_sums(release)
    done = install(home, "--user", "--from", str(release))
    assert "muxi-server: MUXI Server 1.20270101.0\n" in done.stdout
    assert "\nmore" not in done.stdout


def test_shellcheck_finds_nothing() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (Debian: shellcheck)")
    scripts = [
        SCRIPT,
        *(ROOT / "install" / "debian" / name for name in ("build", "postinst", "postrm", "prerm")),
        *(ROOT / "install" / "docker").iterdir(),
        *(ROOT / "requirements" / "make-venv", ROOT / "requirements" / "lock", ROOT / ".ci" / "run"),
    ]
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_scripts_can_be_run() -> None:
    assert os.access(SCRIPT, os.X_OK)
