"""The list of what is inside agrees with what is locked and declared."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from build.sbom import NOT_INSIDE, PIN, ROOT, document

LOCK = (ROOT / "requirements" / "run.lock").read_text("utf-8")


def test_every_package_that_runs_is_in_it_with_its_version() -> None:
    found: dict[str, Any] = document(LOCK, "1.20261122.0", "3.13.1")
    purls = {component["purl"] for component in found["components"]}
    assert {"pkg:generic/cpython@3.13.1", "pkg:generic/openssl", "pkg:generic/sqlite"} <= purls
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for requirement in project["dependencies"]:
        name = re.split(r"[^a-z0-9-]", requirement)[0]
        assert any(purl.startswith(f"pkg:pypi/{name}@") for purl in purls), name
    assert found["metadata"]["component"]["version"] == "1.20261122.0"


def test_what_is_said_not_to_be_inside_is_locked_at_all() -> None:
    names = {name for name, _, _ in PIN.findall(LOCK)}
    assert names >= NOT_INSIDE
