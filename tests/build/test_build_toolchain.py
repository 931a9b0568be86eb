"""What is compiled for: an old system where Debian's archive can be had, else this one, which is said."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from build import toolchain
from build.apt import sources
from build.errors import CannotBuildError
from build.options import FILE, Sysroot, read_options
from build.toolchain import contents, find_toolchain, keep_links_inside

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OPTIONS = Sysroot(suite="old", old=("libc6",), libraries=("zlib1g-dev",))
OWN = [("http://mirror/debian/", "bookworm"), ("http://mirror/debian-security/", "bookworm-security")]
#: A compiler that tells how it was called.
COMPILER = """\
#!/bin/sh
case $1 in
    --version) echo 'cc 12' ;;
    -print-multiarch) echo x86_64-linux-gnu ;;
    *) echo "$@" ;;
esac
"""


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cc"
    path.write_text(COMPILER)
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))


class Archive:
    """A stand-in for Debian's: packages that are made here, each of one file and one link."""

    asked: list[str]

    def __init__(self, home: Path, *, suite: str) -> None:
        self.home, self.suite = home, suite
        home.mkdir(parents=True)

    def download(self, packages: Iterable[str]) -> list[Path]:
        Archive.asked = list(packages)
        return [self._make(name.partition("/")[0]) for name in packages]

    def _make(self, name: str) -> Path:
        root = self.home / name
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: none\n"
        )
        directory = root / "usr" / "lib" / "x86_64-linux-gnu"
        (directory / "pkgconfig").mkdir(parents=True)
        (directory / f"{name}.a").write_text(name)
        (directory / f"{name}.so").symlink_to(f"/lib/x86_64-linux-gnu/{name}.so.1")
        file = self.home / f"{name}_1_all.deb"
        subprocess.run(["dpkg-deb", "--build", root, file], check=True, stdout=subprocess.DEVNULL)
        return file


def failing(_home: Path, *, suite: str) -> Archive:
    raise CannotBuildError(f"{suite} is not to be had")


@pytest.mark.usefixtures("compiler")
def test_without_the_archive_it_compiles_for_this_system_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toolchain, "Archive", failing)
    found = find_toolchain(OPTIONS, tmp_path / "cache")
    assert not found.portable
    assert "old is not to be had" in capsys.readouterr().out
    assert not list((tmp_path / "cache").glob("*"))


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "none"))
    with pytest.raises(CannotBuildError, match="apt install gcc"):
        find_toolchain(OPTIONS, tmp_path)


@pytest.mark.usefixtures("compiler")
@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")
def test_the_old_library_is_before_this_system_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "Archive", Archive)
    found = find_toolchain(OPTIONS, tmp_path / "cache")
    assert found.portable
    assert Archive.asked == ["libc6/old", "zlib1g-dev"]
    root = found.compiler.parents[1]
    called = subprocess.run([found.compiler, "-c", "a.c"], check=True, capture_output=True, text=True).stdout
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    assert called.split() == [
        f"--sysroot={root}",
        f"-B{libraries}",
        f"-L{libraries}",
        f"-L{root}/lib/x86_64-linux-gnu",
        "-c",
        "a.c",
    ]
    assert (root / "usr/lib/x86_64-linux-gnu/zlib1g-dev.a").read_text() == "zlib1g-dev"
    assert contents(root).splitlines() == ["libc6_1_all", "zlib1g-dev_1_all"]
    assert not (root / "apt").exists()
    # The second time nothing is asked for, so that it also works without a network.
    monkeypatch.setattr(toolchain, "Archive", failing)
    assert find_toolchain(OPTIONS, tmp_path / "cache") == found


def test_links_lead_to_where_they_would_if_it_were_the_root(tmp_path: Path) -> None:
    directory = tmp_path / "usr" / "lib"
    directory.mkdir(parents=True)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libdl.so.2").write_text("the old one")
    (directory / "libdl.so").symlink_to("/lib/libdl.so.2")
    (directory / "libz.so").symlink_to("libz.so.1")
    keep_links_inside(tmp_path)
    assert (directory / "libdl.so").read_text() == "the old one"
    assert str((directory / "libz.so").readlink()) == "libz.so.1"


def test_another_suite_is_asked_of_the_mirror_and_not_of_the_one_for_security() -> None:
    assert sources("deb", [OWN[1], OWN[0]], "bullseye").splitlines() == [
        "deb http://mirror/debian-security/ bookworm-security main",
        "deb http://mirror/debian/ bookworm main",
        "deb http://mirror/debian/ bullseye main",
    ]
    assert sources("deb-src", OWN, "sid") == "deb-src http://mirror/debian/ sid main\n"
    with pytest.raises(CannotBuildError, match="no mirror"):
        sources("deb", [OWN[1]], "bullseye")


def test_the_floor_is_the_glibc_of_the_suite() -> None:
    """Debian 11 has glibc 2.31 (its release notes); promising an older one would be a build that fails."""
    options = read_options(FILE.read_text("utf-8"))
    assert (options.sysroot.suite, options.limits.glibc) == ("bullseye", (2, 31))
