"""What the pages show that is no command: YAML, JSON, units, messages. All of it is true."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from docs.generate.pages import BEGIN, END, PAGES, renewed
from muxi.config.load import load
from muxi.config.model import Config, Paths
from muxi.config.schema import declarations
from muxi.formation import manifest
from muxi.service.definition import Definition
from muxi.service.systemd import HAS_SUBGROUPS, unit
from tests.docs.blocks import all_blocks
from tests.docs.fronts import program
from tests.live import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.docs.blocks import Block

DOCS = ROOT / "docs"
ALL = all_blocks()
YAML = [block for block in ALL if block.language == "yaml"]
#: Of other programs: Prometheus, compose, GitHub, pre-commit.
FOREIGN = {"scrape_configs", "services", "jobs", "repos"}
SETTINGS = {name.partition(".")[0] for name, _, _ in declarations(Config)}
#: Variables of the server's own making, which nobody is to set.
INTERNAL = {"MUXI_HANDOVER", "MUXI_INSTANCE_TOKEN", "MUXI_SIF_MODE"}


@pytest.mark.parametrize("name", PAGES)
def test_a_made_page_is_what_the_program_says(name: str) -> None:
    page = (DOCS / name).read_text("utf-8")
    assert renewed(page, PAGES[name]()) == page, "write it anew: make docs"


def test_a_page_is_renewed_between_its_marks() -> None:
    assert renewed(f"a\n{BEGIN}\nold\n{END}\nz\n", ["new"]) == f"a\n{BEGIN}\nnew\n\n{END}\nz\n"
    with pytest.raises(ValueError, match="marks"):
        renewed(f"a\n{BEGIN}\n", ["new"])


@pytest.mark.parametrize("block", YAML, ids=str)
def test_yaml_is_something_that_is_taken(block: Block, tmp_path: Path) -> None:
    shown = yaml.safe_load(block.text)
    assert isinstance(shown, dict), "a mapping"
    if set(shown) & FOREIGN:
        return
    if set(shown) <= SETTINGS:
        check_settings(block.text, tmp_path)
    else:
        check_manifest(block.text, shown)


def check_settings(text: str, directory: Path) -> None:
    file = directory / "config.yaml"
    file.write_text(text)
    loaded = load(Paths(*(directory,) * 4, config_file=file), require_key=False)
    assert not [note for note in loaded.notes if "not known" in note or "no effect" in note], loaded.notes


def check_manifest(text: str, shown: dict[str, object]) -> None:
    """Read a whole manifest, or some keys of one."""
    whole = text if "id" in shown else f"id: some-agent\ndescription: x\ncommand: [x]\n{text}"
    known = {field for field in manifest.Manifest.__dataclass_fields__ if field not in {"kind", "file_name"}}
    assert set(shown) <= known | {"llm", "agents", "rce"}, "keys that no manifest has"
    manifest.parse_manifest(whole.encode(), "formation.afs", {"app.py"})


def test_every_key_of_a_manifest_is_explained() -> None:
    page = (DOCS / "formations.md").read_text("utf-8")
    unknown = {"kind", "file_name", "own_rce"}
    missing = [name for name in manifest.Manifest.__dataclass_fields__ if f"`{name}`" not in page]
    assert set(missing) <= unknown


def test_every_variable_is_explained() -> None:
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "muxi").rglob("*.py"))
    used = set(re.findall(r'"((?:MUXI_|DO_NOT_|DOCKER_)[A-Z_]*[A-Z])"', text)) - INTERNAL
    explained = (DOCS / "configuration.md").read_text("utf-8") + (DOCS / "formations.md").read_text("utf-8")
    assert len(used) > 10
    assert [name for name in sorted(used) if f"`{name}" not in explained] == []


@pytest.mark.parametrize("block", [one for one in ALL if one.language == "json"], ids=str)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", [one for one in ALL if one.language == "ini"], ids=str)
def test_a_unit_is_the_one_that_is_installed(block: Block) -> None:
    definition = Definition(
        command=("/usr/local/bin/muxi-server",), stop_seconds=90, log_dir=DOCS, user="muxi"
    )
    ours = unit(definition, version=HAS_SUBGROUPS, user_manager=False)
    assert _plain(block.text) == _plain(ours)


def _plain(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_logrotate_takes_its_file(production: Callable[[str], str], tmp_path: Path) -> None:
    words = program("logrotate")
    logs = {
        "/var/lib/muxi/logs/audit.log": tmp_path / "audit.log",
        "/var/log/muxi/server.log": tmp_path / "server.log",
    }
    text = production("logrotate").replace("    su muxi muxi\n", "")
    for name, file in logs.items():
        assert name in text
        text = text.replace(name, str(file))
        file.write_text("a line\n")
    tmp_path.chmod(0o755)
    (tmp_path / "rotate").write_text(text)
    (tmp_path / "rotate").chmod(0o644)
    command: list[str | Path] = [words, "--force", "--state", tmp_path / "state", tmp_path / "rotate"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*.log.1")} == {"audit.log.1", "server.log.1"}


def test_quoted_messages_are_ours() -> None:
    said = "\n".join(_strings())
    quoted = re.findall(r"^> `(.*)`$", (DOCS / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    assert len(quoted) > 20
    parts = [part.strip() for message in quoted for part in message.split("…")]
    assert [part for part in parts if part not in said] == []


def _strings() -> Iterator[str]:
    """Yield every text in our sources; of one with values in it, what stands between them."""
    for path in (ROOT / "muxi").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_systemd_has_nothing_against_the_unit(tmp_path: Path) -> None:
    (block,) = [one for one in ALL if (one.page, one.language) == ("docs/production.md", "ini")]
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here (Debian: systemd)")
    text = block.text.replace("/usr/local/bin/muxi-server", "/bin/true").replace("User=muxi", "User=root")
    text = text.replace("DelegateSubgroup=server\n", "")  # of 254
    (tmp_path / "muxi-server.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", tmp_path / "muxi-server.service"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
