"""The settings of Python environments; an index's address may hold a password."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from muxi.config.load import load
from muxi.config.model import Config, Paths
from muxi.config.show import as_dict
from muxi.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def read(tmp_path: Path, text: str) -> Config:
    paths = Paths(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path / "config.yaml")
    paths.config_file.write_text(text)
    paths.config_file.chmod(0o600)
    return load(paths, require_key=False).config


def test_indexes_and_directories_of_wheels(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "environments:\n"
        "  index_url: https://host/simple\n"
        "  extra_index_urls: [https://two/simple, file:///srv/simple]\n"
        "  find_links: [/srv/my wheels, https://host/page]\n"
        "  no_index: true\n"
        "  installer: PIP\n"
        "  timeout: 5m\n",
    ).environments
    assert found.index_url == "https://host/simple"
    assert found.extra_index_urls == ("https://two/simple", "file:///srv/simple")
    assert found.find_links == ("file:///srv/my%20wheels", "https://host/page")
    assert (found.no_index, found.installer, found.timeout) == (True, "pip", 300.0)


@pytest.mark.parametrize(
    "line",
    [
        "index_url: ftp://joe:canary@host/simple",
        "index_url: canary",
        "find_links: wheels/canary",
        "installer: conda",
    ],
)
def test_what_can_not_be_used_is_not_repeated(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"environments: {{{line}}}\n")
    (problem,) = caught.value.problems
    assert line.partition(":")[0] in problem
    assert "canary" not in problem


def test_passwords_are_covered_when_they_are_shown(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "environments: {index_url: 'https://joe:canary@host/simple', extra_index_urls: ['https://canary@two/simple']}\n",
    )
    assert "canary" not in repr(found)
    shown = json.dumps(as_dict(found))
    assert "canary" not in shown
    assert "https://***@host/simple" in shown
