"""What the workflows promise can be read off them: pinned actions, least permissions, all platforms."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from build.release import PLATFORMS, ROOT, binary_name
from muxi.upgrade.release import file_name

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def read(name: str) -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text("utf-8"))
    return workflow


def scripts(workflow: dict[str, Any]) -> Iterator[str]:
    for job in workflow["jobs"].values():
        yield from (step["run"] for step in job.get("steps", []) if "run" in step)


def test_no_script_is_put_together_from_what_others_send(text: str) -> None:
    found = list(scripts(yaml.safe_load(text)))
    assert [script for script in found if "${{" in script] == []
    for name in ("github.event", "github.head_ref", "github.base_ref"):
        assert name not in text


def test_nothing_runs_with_rights_for_what_strangers_send(text: str) -> None:
    triggers = yaml.safe_load(text)[True]  # `on` is a truth value in YAML 1.1
    assert not {"pull_request_target", "workflow_run", "issue_comment", "issues"} & set(triggers)


def test_only_releases_may_write() -> None:
    writers = {
        (path.name, job, right)
        for path in FILES
        for job, parts in read(path.name)["jobs"].items()
        for right, level in parts["permissions"].items()
        if level == "write"
    }
    signing = {"id-token", "attestations"}
    assert writers == {
        *(("release.yml", "release", right) for right in {"contents"} | signing),
        *(("release.yml", "image", right) for right in {"packages"} | signing),
        *(("docker.yml", "publish", right) for right in {"packages"} | signing),
    }


def test_what_is_released_is_that_of_main_and_comes_from_no_cache() -> None:
    assert read("release.yml")["jobs"]["check"]["if"] == "github.ref == 'refs/heads/main'"
    assert read("docker.yml")["jobs"]["publish"]["if"] == "github.ref == 'refs/heads/main'"
    jobs = read("release.yml")["jobs"]
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "check": None,
        "binaries": "check",
        "release": "binaries",
        "image": "release",
    }
    assert jobs["release"]["environment"] == "release"
    for path in FILES:
        for job in read(path.name)["jobs"].values():
            for step in job.get("steps", []):
                if "actions/cache@" in step.get("uses", ""):
                    assert step["if"] == "github.ref == 'refs/heads/rc'"


def test_files_are_named_as_those_who_fetch_them_expect() -> None:
    steps = read("binaries.yml")["jobs"]["build"]["steps"]
    assert any('upload/muxi-server-"$PLATFORM$SUFFIX"' in step.get("run", "") for step in steps)
    for platform in PLATFORMS:
        system, _, architecture = platform.partition("-")
        assert file_name({"windows": "win32"}.get(system, system), architecture) == binary_name(platform)
    shell = (ROOT / "install" / "install.sh").read_text("utf-8")
    assert "file=muxi-server-$os-$arch\n" in shell
    assert set(re.findall(r"arch=(\w+)", shell)) == {"amd64", "arm64"}
    assert set(re.findall(r"os=(\w+)", shell)) == {"linux", "darwin"}
    power_shell = (ROOT / "install" / "install.ps1").read_text("utf-8")
    named = set(re.findall(r"muxi-server-windows-[a-z0-9.]+", power_shell))
    assert named == {binary_name(platform) for platform in PLATFORMS if platform.startswith("windows")}


def test_every_python_that_is_promised_is_tested() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    matrix = read("ci.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    systems = {*matrix["os"], *(row["os"] for row in matrix["include"])}
    assert {system.partition("-")[0] for system in systems} == {"ubuntu", "macos", "windows"}
    floors = [re.search(r"--fail-under=(\d+)", script) for script in scripts(read("ci.yml"))]
    assert [int(found[1]) >= 85 for found in floors if found] == [True]


def test_actionlint_finds_nothing() -> None:
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("actionlint is not installed; CI runs it")
    done = subprocess.run([actionlint, *FILES], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout + done.stderr == ""
