"""The Debian package: what is in it, and what its scripts do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from build.options import FILE as BUILD_OPTIONS
from build.options import read_options
from tests.program import BINARY

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "install" / "muxi-server.service"
DEBIAN = ROOT / "install" / "debian"
VERSION = "1.20261122.0"

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb here")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    binary = tmp_path / "binary"
    if BINARY:
        shutil.copy(BINARY, binary)
    else:
        binary.write_text("#!/bin/sh\necho 'MUXI Server'\n")
    command = ["/bin/sh", str(DEBIAN / "build"), str(binary), VERSION, "amd64", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


@pytest.mark.parametrize("arguments", [[], ["/nowhere", VERSION, "amd64", "."]])
def test_wrong_arguments_are_told(arguments: list[str]) -> None:
    done = subprocess.run(
        ["/bin/sh", DEBIAN / "build", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "usage: build BINARY VERSION ARCH DIRECTORY\n")


@needs_dpkg
def test_what_it_needs_is_what_the_build_promises(package: Path) -> None:
    options = read_options(BUILD_OPTIONS.read_text("utf-8"))
    fields = subprocess.run(
        ["dpkg-deb", "-f", package, "Depends"], capture_output=True, text=True, check=True
    )
    assert fields.stdout.split(", ")[0] == f"libc6 (>= {'.'.join(map(str, options.limits.glibc))})"


@needs_dpkg
def test_lintian_finds_nothing(package: Path) -> None:
    lintian = shutil.which("lintian")
    if lintian is None:
        pytest.skip("lintian is not installed (Debian: lintian)")
    done = subprocess.run([lintian, "--allow-root", package], capture_output=True, text=True, check=False)
    assert done.stdout == ""


@needs_dpkg
def test_what_is_in_it(package: Path, tmp_path: Path) -> None:
    assert package.name == f"muxi-server_{VERSION}_amd64.deb"
    fields = subprocess.run(["dpkg-deb", "-f", package], capture_output=True, text=True, check=True).stdout
    assert f"Version: {VERSION}\n" in fields
    assert re.search(r"^Depends: libc6 \(>= 2\.\d+\)", fields, re.MULTILINE)
    listing = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True).stdout
    assert all(line.split()[1] == "root/root" for line in listing.splitlines())
    root = tmp_path / "root"
    subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files == {
        "usr/bin/muxi-server",
        "lib/systemd/system/muxi-server.service",
        "usr/share/doc/muxi-server/changelog.gz",
        "usr/share/doc/muxi-server/copyright",
        "usr/share/lintian/overrides/muxi-server",
    }
    unit = (root / "lib/systemd/system/muxi-server.service").read_text()
    assert "ExecStart=/usr/bin/muxi-server start\n" in unit
    assert "/usr/local" not in unit
    done = subprocess.run([root / "usr/bin/muxi-server", "version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"MUXI Server")


def test_the_unit_is_the_one_that_is_documented() -> None:
    page = (ROOT / "contributing" / "server.md").read_text("utf-8")
    found = re.search(r"```ini\n(.*?)```", page, re.DOTALL)
    assert found is not None
    assert found[1] == UNIT.read_text("utf-8")


def run(script: str, *arguments: str, path: Path, systemd: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a script of the package's with stand-ins for what it would do to this machine."""
    text = (DEBIAN / script).read_text()
    there = text.replace("/run/systemd/system", str(path if systemd else path / "nowhere"))
    return subprocess.run(
        ["/bin/sh", "-c", there, script, *arguments],
        env={"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Stand-ins that write down how they were called; the user is not there yet."""
    directory = tmp_path / "commands"
    directory.mkdir()
    for name, answer in {
        "adduser": 0,
        "getent": 2,
        "install": 0,
        "rm": 0,
        "rmdir": 0,
        "systemctl": 0,
    }.items():
        path = directory / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{directory}/called\nexit {answer}\n')
        path.chmod(0o755)
    return directory


def called(commands: Path) -> list[str]:
    path = commands / "called"
    return path.read_text().splitlines() if path.exists() else []


def test_after_unpacking_there_is_a_user(commands: Path) -> None:
    done = run("postinst", "configure", path=commands)
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("adduser --system ") and line.endswith(" muxi") for line in called(commands))
    made = {
        line.split()[-1] for line in called(commands) if line.startswith("install -d -o muxi -g muxi -m 750")
    }
    assert made <= {"/etc/muxi", "/etc/muxi/server", "/var/lib/muxi", "/var/log/muxi"}


def test_other_steps_of_dpkg_change_nothing(commands: Path) -> None:
    assert run("postinst", "abort-upgrade", path=commands).returncode == 0
    assert run("prerm", "upgrade", path=commands).returncode == 0
    assert called(commands) == []


def test_a_purge_never_removes_formations(commands: Path) -> None:
    done = run("postrm", "purge", path=commands)
    assert done.returncode == 0, done.stderr
    removed = [line for line in called(commands) if line.startswith("rm ")]
    assert removed == ["rm -rf /etc/muxi/server /var/log/muxi"]
    assert run("postrm", "remove", path=commands).returncode == 0
    assert [line for line in called(commands) if line.startswith("rm ")] == removed


@needs_dpkg
@pytest.mark.skipif(os.geteuid() != 0, reason="dpkg gives files to root")
def test_the_life_of_the_package(package: Path, commands: Path, tmp_path: Path) -> None:
    """dpkg itself, in a root of its own; what its scripts would do to this machine is written down."""
    # dpkg's own, for what it has unpacked itself, is the real one.
    (commands / "rm").write_text(
        f'#!/bin/sh\n[ "$2" != -- ] || exec {shutil.which("rm")} "$@"\necho "rm $*" >>{commands}/called\n'
    )
    root = tmp_path / "machine"
    (root / "var/lib/dpkg/info").mkdir(parents=True)
    (root / "var/lib/dpkg/updates").mkdir()
    (root / "var/lib/dpkg/status").touch()

    def dpkg(*arguments: str | Path) -> set[str]:
        subprocess.run(
            ["dpkg", f"--root={root}", "--force-depends", "--force-script-chrootless", *arguments],
            env={"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            check=True,
        )
        found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return {str(path) for path in found if not path.is_relative_to("var/lib/dpkg")}

    installed = dpkg("--install", package)
    assert "usr/bin/muxi-server" in installed
    assert len(installed) == 5
    assert any(line.startswith("adduser --system ") for line in called(commands))
    assert dpkg("--install", package) == installed
    assert dpkg("--remove", "muxi-server") == set()
    assert [line for line in called(commands) if line.startswith("rm ")] == []
    assert dpkg("--purge", "muxi-server") == set()
    assert [line for line in called(commands) if line.startswith("rm ")] == [
        "rm -rf /etc/muxi/server /var/log/muxi"
    ]


def asked_of_systemd(commands: Path) -> list[str]:
    return [line for line in called(commands) if line.startswith("systemctl")]


def test_the_service_is_enabled_the_first_time_only(commands: Path) -> None:
    # is-active says no.
    (commands / "systemctl").write_text(
        f'#!/bin/sh\necho "systemctl $*" >>{commands}/called\n[ "$1" != is-active ]\n'
    )
    assert "muxi-server init" in run("postinst", "configure", path=commands, systemd=True).stdout
    assert asked_of_systemd(commands)[-1] == "systemctl enable --quiet muxi-server"
    (commands / "called").unlink()
    assert run("postinst", "configure", VERSION, path=commands, systemd=True).stdout == ""
    assert asked_of_systemd(commands) == [
        "systemctl daemon-reload",
        "systemctl is-active --quiet muxi-server",
    ]


def test_a_running_server_goes_on_with_the_new_program(commands: Path) -> None:
    assert run("prerm", "upgrade", VERSION, path=commands, systemd=True).returncode == 0
    assert asked_of_systemd(commands) == []
    assert run("postinst", "configure", VERSION, path=commands, systemd=True).returncode == 0
    assert asked_of_systemd(commands)[-1] == "systemctl kill --kill-who=main --signal=SIGUSR2 muxi-server"
    assert run("prerm", "remove", path=commands, systemd=True).returncode == 0
    assert asked_of_systemd(commands)[-1] == "systemctl --quiet disable --now muxi-server"
