"""What a release is made of: its version, its changelog, its checksums, and the formula with them."""

from __future__ import annotations

import datetime
import hashlib
import shutil
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from build.release import (
    PLATFORMS,
    ROOT,
    SUMS,
    binary_name,
    changelog_section,
    formula,
    next_version,
    notes,
    prepare,
    write_archives,
)

if TYPE_CHECKING:
    from pathlib import Path

TODAY = datetime.date(2026, 11, 25)
TEMPLATE = (ROOT / "install" / "homebrew.rb").read_text("utf-8")


@pytest.mark.parametrize(
    ("current", "after"),
    [
        ("1.20261122.0", "1.20261125.0"),
        ("1.20261125.0", "1.20261125.1"),
        ("2.20261125.9", "2.20261125.10"),
        ("1.20261124.7", "1.20261125.0"),
    ],
)
def test_the_next_version(current: str, after: str) -> None:
    assert next_version(current, TODAY) == after


def test_fragments_stand_below_their_kind() -> None:
    fragments = {"7.b.fixed.md": "Two\nlines.\n", "7.added.md": "New.", "6.a.fixed.md": "One."}
    assert changelog_section("1.20261125.0", TODAY, fragments) == (
        "## [1.20261125.0] - 2026-11-25\n\n### Added\n\n- New.\n\n### Fixed\n\n- One.\n- Two\n  lines.\n"
    )


def test_a_fragment_of_no_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"7\.improved\.md: 'improved'"):
        changelog_section("1.20261125.0", TODAY, {"7.improved.md": "x"})


def test_those_that_are_there_all_have_a_kind() -> None:
    fragments = {path.name: path.read_text("utf-8") for path in (ROOT / "newsfragments").glob("*.*.md")}
    assert changelog_section("1.20261125.0", TODAY, fragments)


def test_preparing_twice_puts_the_newer_first(tmp_path: Path) -> None:
    (tmp_path / "newsfragments").mkdir()
    (tmp_path / "muxi").mkdir()
    (tmp_path / "muxi" / "__init__.py").write_text('"""It."""\n\n__version__ = "1.20261122.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\nWhat users notice.\n")
    for number, version in enumerate(("1.20261125.0", "1.20261125.1")):
        (tmp_path / "newsfragments" / "README.md").write_text("stays")
        (tmp_path / "newsfragments" / f"{number}.fixed.md").write_text(f"Change {number}.")
        prepare(tmp_path, version, TODAY)
    assert [path.name for path in (tmp_path / "newsfragments").iterdir()] == ["README.md"]
    assert (tmp_path / "muxi" / "__init__.py").read_text() == '"""It."""\n\n__version__ = "1.20261125.1"\n'
    changelog = (tmp_path / "CHANGELOG.md").read_text()
    assert notes(changelog, "1.20261125.1") == "### Fixed\n\n- Change 1.\n"
    assert notes(changelog, "1.20261125.0") == "### Fixed\n\n- Change 0.\n"
    with pytest.raises(ValueError, match="no section"):
        notes(changelog, "1.20261124.0")
    assert changelog == (
        "# Changelog\n\nWhat users notice.\n\n"
        "## [1.20261125.1] - 2026-11-25\n\n### Fixed\n\n- Change 1.\n\n"
        "## [1.20261125.0] - 2026-11-25\n\n### Fixed\n\n- Change 0.\n"
    )


def test_archives_and_checksums(tmp_path: Path) -> None:
    for platform in PLATFORMS:
        (tmp_path / binary_name(platform)).write_bytes(platform.encode())
    (tmp_path / "THIRD-PARTY-NOTICES.txt").write_text("theirs")
    write_archives(tmp_path)
    lines = (tmp_path / SUMS).read_text().splitlines()
    assert len(lines) == 2 * len(PLATFORMS) + 1
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    with tarfile.open(tmp_path / "muxi-server-linux-arm64.tar.gz") as archive:
        assert [(member.name, member.mode) for member in archive] == [
            ("muxi-server-linux-arm64", 0o755),
            ("LICENSE", 0o644),
            ("THIRD-PARTY-NOTICES.txt", 0o644),
        ]
    with zipfile.ZipFile(tmp_path / "muxi-server-windows-amd64.zip") as archive:
        assert archive.read("muxi-server-windows-amd64.exe") == b"windows-amd64"


def test_the_formula_has_every_checksum() -> None:
    sums = "".join(f"{number:064x}  {binary_name(platform)}\n" for number, platform in enumerate(PLATFORMS))
    text = formula(TEMPLATE, "1.20261125.0", sums)
    for number, platform in enumerate(PLATFORMS):
        there = f'sha256 "{number:064x}"' in text and f"/v1.20261125.0/{binary_name(platform)}" in text
        assert there is not platform.startswith("windows")
    assert "{" not in text.replace("#{bin}", "")


def test_a_formula_without_a_checksum_is_refused() -> None:
    with pytest.raises(KeyError, match="darwin"):
        formula(TEMPLATE, "1.20261125.0", f"{'0' * 64}  {binary_name('linux-amd64')}\n")


def test_the_formula_is_ruby(tmp_path: Path) -> None:
    ruby = shutil.which("ruby")
    if ruby is None:
        pytest.skip("ruby is not installed")
    done = subprocess.run([ruby, "-c"], input=TEMPLATE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
