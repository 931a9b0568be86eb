"""`python -m build.sbom`: what is inside a binary, from the lock file, as CycloneDX 1.6 (cyclonedx.org)."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from build.options import FILE, read_options

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([a-z0-9-]+)==([^ ]+)(.*)$", re.MULTILINE)
#: Locked for the checkout's sake only, or for Windows.
NOT_INSIDE = frozenset(
    {
        "cffi",
        "hatchling",
        "packaging",
        "pathspec",
        "pluggy",
        "pycparser",
        "tomlkit",
        "trove-classifiers",
    }
)
#: Linked into the Linux binary, of the system that it is built on; which version is that system's affair.
LINKED_IN = ("openssl", "sqlite", "libffi", "zlib", "bzip2", "xz")


def packages(lock: str) -> list[tuple[str, str]]:
    """Return the packages of the lock file that are in the binary, with their versions."""
    return [(name, pinned) for name, pinned, _ in PIN.findall(lock) if name not in NOT_INSIDE]


def document(lock: str, version: str, python: str) -> dict[str, object]:
    """Return the document: the server, and in it Python and each package of the lock file."""
    components = [_component("cpython", python, f"pkg:generic/cpython@{python}")]
    components += [_linked_in(name) for name in LINKED_IN]
    components += [_component(name, pinned, f"pkg:pypi/{name}@{pinned}") for name, pinned in packages(lock)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "muxi-server", "version": version}},
        "components": components,
    }


def _component(name: str, version: str, purl: str) -> dict[str, str]:
    return {"type": "library", "name": name, "version": version, "purl": purl}


def _linked_in(name: str) -> dict[str, str]:
    return {"type": "library", "name": name, "purl": f"pkg:generic/{name}"}


def main() -> int:
    """Print it."""
    found = re.search(r'__version__ = "(.*)"', (ROOT / "muxi" / "__init__.py").read_text("utf-8"))
    assert found is not None
    lock = (ROOT / "requirements" / "run.lock").read_text("utf-8")
    python = read_options(FILE.read_text("utf-8")).cpython.version
    print(json.dumps(document(lock, found[1], python), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
