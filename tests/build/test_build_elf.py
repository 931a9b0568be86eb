"""What a file asks of glibc is read as the system's own tools read it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build.elf import MAGIC, newest_glibc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ELF is Linux's format")


def test_the_newest_version_is_what_objdump_says() -> None:
    objdump = shutil.which("objdump")
    if objdump is None:
        pytest.skip("objdump is not installed (Debian: binutils)")
    path = Path(sys.executable).resolve()
    listing = subprocess.run([objdump, "-p", path], capture_output=True, text=True, check=True).stdout
    versions = [tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([0-9.]+)", listing)]
    assert versions
    assert newest_glibc(path) == max(versions)


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"", MAGIC + b"\x01\x01" + bytes(60)])
def test_another_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no 64-bit"):
        newest_glibc(path)
