"""The licences of what is inside of the binary, which most of them ask to be passed on with it.

Printed by an interpreter that has `requirements/run.lock` installed: python -m build.notices
"""

from __future__ import annotations

import re
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from build.sbom import ROOT, packages

FILE = "THIRD-PARTY-NOTICES.txt"
RULE = "=" * 78
LICENCE = re.compile(r"\.dist-info/(?:licenses/)?(?:LICEN[CS]E|COPYING|NOTICE)[^/]*$", re.IGNORECASE)
#: Linked into the Linux binary; their licences ask for no more, or have their text below in any case.
LIBRARIES = """\
Linked in, too:

OpenSSL: Copyright The OpenSSL Project Authors; Apache License 2.0 (its text is among those below).
libffi: Copyright Anthony Green, Red Hat, Inc and others; MIT License (its text is among those below).
zlib: Copyright Jean-loup Gailly and Mark Adler; zlib License.
bzip2: Copyright Julian R Seward; bzip2 License.
SQLite, liblzma: in the public domain (liblzma's newest parts: 0BSD).
"""


def texts(name: str) -> list[str]:
    """Return what a package has of licences. Raises LookupError when it is not here, or has none."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError as error:
        raise LookupError(f"{name} is not installed: install requirements/run.lock") from error
    found = [file.read_text("utf-8").strip() for file in files if LICENCE.search(str(file))]
    if not found:
        raise LookupError(f"{name} has no file with its licence")
    return found


def document(python: str, found: dict[str, list[str]]) -> str:
    """Put it together: Python's licence, and those of packages by their name and version."""
    parts = ["MUXI Server is under the Elastic License 2.0. It has these in it:", LIBRARIES]
    parts += [f"{RULE}\nPython\n{RULE}\n", python.strip()]
    for title, licences in found.items():
        parts += [f"{RULE}\n{title}\n{RULE}\n", *licences]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Print it."""
    python = Path(sysconfig.get_path("stdlib"), "LICENSE.txt").read_text("utf-8")
    lock = (ROOT / "requirements" / "run.lock").read_text("utf-8")
    try:
        found = {f"{name} {version}": texts(name) for name, version in packages(lock)}
    except LookupError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(document(python, found), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
