"""Homebrew's formula, filled in for a release of ours, and run by Ruby with stand-ins for Homebrew."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from build.release import SUMS, binary_name, formula, write_archives
from tests.install.script import ROOT

VERSION = "1.20261125.0"
STAND_IN = Path(__file__).with_name("homebrew.rb")
PLATFORMS = {
    "macos-arm": "darwin-arm64",
    "macos-intel": "darwin-amd64",
    "linux-arm": "linux-arm64",
    "linux-intel": "linux-amd64",
}


def test_it_installs_the_file_of_the_machine(tmp_path: Path) -> None:
    ruby = shutil.which("ruby")
    if ruby is None:
        pytest.skip("ruby is not installed")
    release = tmp_path / "release"
    release.mkdir()
    for platform in PLATFORMS.values():
        text = f"#!/bin/sh\n# for {platform}\necho 'MUXI Server {VERSION}'\n"
        (release / binary_name(platform)).write_text(text)
    write_archives(release)
    template = (ROOT / "install" / "homebrew.rb").read_text("utf-8")
    (tmp_path / "muxi-server.rb").write_text(formula(template, VERSION, (release / SUMS).read_text()))
    # Homebrew unpacks what it has fetched into a directory of its own, and goes there.
    fetched, bin_ = tmp_path / "fetched", tmp_path / "bin"
    fetched.mkdir()
    bin_.mkdir()
    shutil.copy(release / "muxi-server-linux-amd64", fetched)

    done = subprocess.run(
        [ruby, STAND_IN, tmp_path / "muxi-server.rb", bin_],
        cwd=fetched,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["fields"]["version"] == VERSION
    base = f"https://github.com/muxi-ai/server/releases/download/v{VERSION}"
    assert told["found"] == {
        here: {
            "url": f"{base}/{binary_name(platform)}",
            "sha256": hashlib.sha256((release / binary_name(platform)).read_bytes()).hexdigest(),
        }
        for here, platform in PLATFORMS.items()
    }
    assert told["service"] == [["/opt/bin/muxi-server", "start"]]
    assert [path.name for path in bin_.iterdir()] == ["muxi-server"]
    assert os.access(bin_ / "muxi-server", os.X_OK)
