"""The image's files agree with each other and with the server; no engine is needed to see that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from muxi.cli import main
from muxi.config.model import ServerConfig
from tests.image.built import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = ROOT / "docker-compose.yml"


def service() -> dict[str, Any]:
    described = yaml.safe_load(COMPOSE.read_text())
    assert set(described) == {"services", "volumes"}
    (one,) = described["services"].values()
    assert isinstance(one, dict)
    return one


def instruction(name: str) -> str:
    """Return what the last stage says of this."""
    last: str = re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)[-1]
    return last


def test_the_last_stage_is_not_root_s_and_keeps_its_state() -> None:
    assert instruction("USER") == "10001:10001"
    assert instruction("VOLUME") == instruction("WORKDIR") == "/data"
    assert "curl" not in DOCKERFILE
    assert "syntax=" not in DOCKERFILE, "the builder's own language is enough, and nothing is fetched for it"


def test_what_is_checked_and_run_are_commands_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    asked = re.findall(r"HEALTHCHECK .*CMD \[(.*)\]", DOCKERFILE)[0]
    program, *arguments = re.findall(r'"(.*?)"', asked)
    assert program == "muxi-server"
    assert main.run([*arguments, "--help"]) == 0
    assert arguments[-1] in capsys.readouterr().out
    assert main.run([instruction("CMD").strip('["]'), "--help"]) == 0


def test_the_compose_file_mounts_publishes_and_waits_as_the_image_needs() -> None:
    one = service()
    described = yaml.safe_load(COMPOSE.read_text())
    mounted = dict(each.split(":") for each in one["volumes"])
    assert mounted == dict.fromkeys(described["volumes"], instruction("VOLUME"))
    assert one["ports"] == [f"{instruction('EXPOSE')}:{instruction('EXPOSE')}"]
    assert int(one["stop_grace_period"].removesuffix("s")) > ServerConfig().shutdown_timeout
    assert (one["cap_drop"], one["read_only"], one["tmpfs"]) == (["ALL"], True, ["/tmp:exec"])


@pytest.mark.parametrize("command", [("docker", "compose"), ("docker-compose",)], ids=" ".join)
def test_compose_itself_reads_it(command: tuple[str, ...]) -> None:
    known = shutil.which(command[0])
    if known is None or subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
        pytest.skip(f"{' '.join(command)} is not here")
    subprocess.run([*command, "--file", COMPOSE, "config", "--quiet"], check=True, capture_output=True)


def test_what_is_copied_reaches_the_builder() -> None:
    """Everything is left out of the context but what is named: so what is copied must be."""
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in re.findall(r"^COPY (?:--chmod=\d+ )?([^\s-]\S*) ", DOCKERFILE, re.MULTILINE):
        if source != ".":
            name = source.replace("${TARGETARCH}", "*")
            assert any(name == one or name.startswith(f"{one}/") for one in let_in), source


def test_what_is_run_inside_is_a_program() -> None:
    assert os.access(ROOT / "install" / "docker" / "muxi-server", os.X_OK)
