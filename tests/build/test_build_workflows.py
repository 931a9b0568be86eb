"""What the workflows promise can be read off them: pinned actions, least permissions, all platforms."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from build.release import PLATFORMS, ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def text(request: pytest.FixtureRequest) -> str:
    content: str = request.param.read_text("utf-8")
    return content


def test_every_action_is_pinned_by_its_commit_and_says_which_version_that_is(text: str) -> None:
    for line in re.findall(r"uses: (.*)", text):
        local = line.startswith("./")
        assert local or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_is_pinned_the_same_everywhere() -> None:
    pins = {re.sub(r"@.*", "", line): set[str]() for line in _uses()}
    for line in _uses():
        pins[re.sub(r"@.*", "", line)].add(line)
    assert {name: lines for name, lines in pins.items() if len(lines) > 1} == {}


def _uses() -> list[str]:
    return [line for path in FILES for line in re.findall(r"uses: ([^.].*)", path.read_text("utf-8"))]


def test_nothing_is_permitted_but_by_a_job_and_every_job_ends(text: str) -> None:
    workflow: dict[str, Any] = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert "permissions" in job, name
        assert "timeout-minutes" in job or "uses" in job, name


def test_the_checkout_keeps_no_credentials(text: str) -> None:
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


def test_all_platforms_are_built() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "binaries.yml").read_text("utf-8"))
    rows = workflow["jobs"]["build"]["strategy"]["matrix"]["include"]
    assert {row["platform"] for row in rows} == set(PLATFORMS)
