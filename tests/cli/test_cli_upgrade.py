"""`muxi-server upgrade` against a server of releases: the good one, and all kinds of bad ones."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from muxi.cli import main
from muxi.processor import architecture
from muxi.upgrade.release import SUMS
from tests.static_files import serving
from tests.upgrade.releases import ReleaseServer, file_here, installed, program, releasing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Installation

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are shell scripts")
OLD, NEW, OLDER = "1.20260101.0", "1.20261125.3", "1.20250101.9"


@pytest.fixture
def releases(installation: Installation) -> Iterator[ReleaseServer]:
    with releasing() as found:
        installation.config_file.parent.mkdir(parents=True)
        installation.config_file.write_text("auth: {enabled: false}\n" + found.settings())
        yield found


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return installed(tmp_path / "bin" / "muxi-server", OLD)


def upgrade(old: Path, *arguments: str) -> int:
    return main.run(["upgrade", "--program", str(old), *arguments])


def facts(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def litter(old: Path) -> set[str]:
    return {path.name for path in old.parent.iterdir()} - {old.name}


def test_a_newer_release_takes_the_place_and_the_old_one_is_kept(
    old: Path, releases: ReleaseServer, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.publish(NEW, program(NEW))
    assert upgrade(old, "--json") == 0
    assert facts(capsys) == {
        "installed": OLD,
        "release": NEW,
        "newer": True,
        "upgraded": True,
        "program": str(old),
        "running": None,
    }
    assert old.read_bytes() == program(NEW)
    assert old.stat().st_mode & 0o777 == 0o755
    assert old.with_name("muxi-server.old").read_bytes() == program(OLD)
    assert litter(old) == {"muxi-server.old"}
    assert upgrade(old) == 0
    assert "there is nothing newer" in capsys.readouterr().out


def test_a_link_leads_to_the_program_that_is_replaced(old: Path, releases: ReleaseServer) -> None:
    releases.publish(NEW, program(NEW))
    link = old.parent.parent / "muxi-server"
    link.symlink_to(old)
    assert upgrade(link) == 0
    assert link.is_symlink()
    assert old.read_bytes() == program(NEW)


def test_check_changes_nothing(
    old: Path, releases: ReleaseServer, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.publish(NEW, program(NEW))
    assert upgrade(old, "--check", "--json") == 0
    assert (facts(capsys)["newer"], old.read_bytes(), litter(old)) == (True, program(OLD), set())
    assert releases.asked == ["/releases/latest"]


@pytest.mark.parametrize("arguments", [[], ["--version", OLDER]])
def test_an_older_release_is_never_installed(
    arguments: list[str], old: Path, releases: ReleaseServer, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.publish(OLDER, program(OLDER))
    assert upgrade(old, *arguments) == 0
    assert "nothing is ever downgraded" in capsys.readouterr().out
    assert (old.read_bytes(), litter(old)) == (program(OLD), set())


def test_a_named_release_is_taken(old: Path, releases: ReleaseServer) -> None:
    releases.publish("1.20261001.0", program("1.20261001.0"))
    releases.publish(NEW, program(NEW))
    assert upgrade(old, "--version", "v1.20261001.0") == 0
    assert old.read_bytes() == program("1.20261001.0")


def test_without_a_mirror_the_release_page_has_it(old: Path, releases: ReleaseServer) -> None:
    releases.publish(NEW, program(NEW), at="/releases/download")
    assert upgrade(old) == 0
    assert old.read_bytes() == program(NEW)


def corrupt(releases: ReleaseServer) -> None:
    releases.publish(NEW, program(NEW))
    releases.files[f"/server/v{NEW}/{file_here()}"] = program(NEW).replace(b"echo", b"evil")


def truncated(releases: ReleaseServer) -> None:
    releases.publish(NEW, program(NEW))
    releases.cut.add(f"/server/v{NEW}/{file_here()}")


def without_sums(releases: ReleaseServer) -> None:
    releases.publish(NEW, program(NEW))
    del releases.files[f"/server/v{NEW}/{SUMS}"]


def not_in_sums(releases: ReleaseServer) -> None:
    releases.publish(NEW, program(NEW), sums=b"0" * 64 + b"  muxi-server-plan9-mips\n")


def sum_without_a_name(releases: ReleaseServer) -> None:
    releases.publish(NEW, program(NEW), sums=b"0" * 64)


def without_file(releases: ReleaseServer) -> None:
    releases.publish(NEW, program(NEW))
    del releases.files[f"/server/v{NEW}/{file_here()}"]


def does_not_run(releases: ReleaseServer) -> None:
    releases.publish(NEW, program(NEW, fails="GLIBC_2.99 not found"))


def no_program(releases: ReleaseServer) -> None:
    releases.publish(NEW, b"\x00\x01\x02 for another machine")


def another_version(releases: ReleaseServer) -> None:
    releases.publish(NEW, program(NEW, says="1.20261125.2"))


def no_latest(releases: ReleaseServer) -> None:
    releases.newest = "not-a-version"


BAD = {
    "corrupt": (corrupt, "is not what its publisher says"),
    "truncated": (truncated, ""),
    "no sums": (without_sums, "no checksums"),
    "not in sums": (not_in_sums, "no checksum for"),
    "sum of no name": (sum_without_a_name, "no checksum for"),
    "no file": (without_file, ""),
    "does not run": (does_not_run, "GLIBC_2.99 not found"),
    "no program": (no_program, "does not run on this machine"),
    "another version": (another_version, "says that it is 1.20261125.2"),
    "no latest": (no_latest, "not the version of a release"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_release_changes_nothing(
    case: str, old: Path, releases: ReleaseServer, capsys: pytest.CaptureFixture[str]
) -> None:
    publish, words = BAD[case]
    publish(releases)
    assert upgrade(old) == 1
    err = capsys.readouterr().err
    assert err.startswith("Error: ")
    assert words in err
    assert "Traceback" not in err
    assert (old.read_bytes(), litter(old)) == (program(OLD), set())


def test_nobody_there_is_told(
    old: Path, releases: ReleaseServer, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    text = installation.config_file.read_text()
    installation.config_file.write_text(text.replace(releases.url, "http://127.0.0.1:1"))
    assert upgrade(old) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_can_not_be_written_is_told_before_a_download(
    old: Path, releases: ReleaseServer, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.publish(NEW, program(NEW))
    old.parent.chmod(0o555)
    try:
        assert upgrade(old) == 1
    finally:
        old.parent.chmod(0o755)
    assert "sudo" in capsys.readouterr().err
    assert releases.asked == ["/releases/latest"]


def test_a_program_that_is_not_there_is_told(
    tmp_path: Path, releases: ReleaseServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert upgrade(tmp_path / "nothing") == 1
    assert "does not run" in capsys.readouterr().err


def test_an_installation_of_many_files_is_not_replaced(
    releases: ReleaseServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["upgrade"]) == 1
    assert "pip install --upgrade" in capsys.readouterr().err
    assert releases.asked == []


def test_a_restart_without_a_server_is_told_and_the_new_program_stays(
    old: Path, releases: ReleaseServer, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.publish(NEW, program(NEW))
    assert upgrade(old, "--restart") == 1
    assert "No server runs" in capsys.readouterr().err
    assert old.read_bytes() == program(NEW)


class Images:
    """A data directory with older images, and a mirror of newer ones."""

    def __init__(self, mirror: Path, installation: Installation) -> None:
        self.mirror = mirror
        self.runtimes = installation.paths.data_dir / "runtimes"
        self.rce = installation.paths.data_dir / "rce"
        for path in (self.runtimes / self.name("1.20260101.0"), self.rce / self.rce_name("1.0.0")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"old")
        self.put("latest.txt", b"1.20260928.0\n")
        self.put(f"1.20260928.0/{self.name('1.20260928.0')}", b"new")

    def put(self, path: str, content: bytes) -> None:
        (self.mirror / path).parent.mkdir(parents=True, exist_ok=True)
        (self.mirror / path).write_bytes(content)

    @staticmethod
    def name(version: str) -> str:
        return f"muxi-runtime-{version}-linux-{architecture()}.sif"

    @staticmethod
    def rce_name(version: str) -> str:
        return f"skills-rce-{version}-linux-{architecture()}.sif"


@pytest.fixture
def images(installation: Installation, tmp_path: Path) -> Iterator[Images]:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    installation.config_file.parent.mkdir(parents=True, exist_ok=True)
    with serving(mirror) as base:
        with installation.config_file.open("a") as file:
            file.write(f"runtime: {{sif_base_url: '{base}'}}\n")
            if "download:" not in installation.config_file.read_text():
                file.write(f"auth: {{enabled: false}}\ndownload: {{retries: 0, rce_url: '{base}'}}\n")
        yield Images(mirror, installation)


def test_newest_images_are_fetched_and_what_can_not_be_had_is_told(
    images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["upgrade", "--images"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "Here is the newest: muxi-runtime 1.20260928.0\n"
    assert "latest version of the code runner could not be learned" in captured.err
    names = {images.name("1.20260101.0"), images.name("1.20260928.0")}
    assert {path.name for path in images.runtimes.glob("*.sif")} == names
    assert (images.runtimes / images.name("1.20260928.0")).read_bytes() == b"new"


def test_a_mirror_that_is_away_is_told_and_never_taken_for_the_newest(
    images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    (images.mirror / "latest.txt").unlink()
    assert main.run(["upgrade", "--images"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "There is no http://127.0.0.1:" in captured.err


def test_images_and_program_go_together(
    old: Path, releases: ReleaseServer, images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.publish(NEW, program(NEW))
    (images.rce / images.rce_name("1.0.0")).unlink()
    assert upgrade(old, "--images", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["upgraded"] is True
    assert "Here is the newest: muxi-runtime 1.20260928.0" in captured.err
    assert old.read_bytes() == program(NEW)


def test_a_check_fetches_no_images(old: Path, releases: ReleaseServer, images: Images) -> None:
    releases.publish(NEW, program(NEW))
    assert upgrade(old, "--images", "--check") == 0
    assert [path.name for path in images.runtimes.glob("*.sif")] == [images.name("1.20260101.0")]


def test_where_no_images_are_none_are_fetched(
    releases: ReleaseServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["upgrade", "--images"]) == 0
    assert "none were fetched" in capsys.readouterr().out
    assert releases.asked == []
