from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.config.load import load
from muxi.config.model import Paths
from muxi.config.save import keep_server_id, name_of, new_config, new_server_id, write_config

if TYPE_CHECKING:
    from pathlib import Path


def paths_in(directory: Path) -> Paths:
    return Paths(directory, directory, directory, directory, directory / "config.yaml")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "agents.example.com", "127.0.0.1"])
def test_a_new_configuration_loads_without_a_note(tmp_path: Path, host: str) -> None:
    text, credentials = new_config(7999, host, "Build 7")
    write_config(tmp_path / "config.yaml", text)
    config, notes = load(paths_in(tmp_path))
    assert notes == ()
    assert (config.server.port, config.server.host) == (7999, host)
    assert config.auth.enabled
    assert config.auth.keys == (credentials,)
    assert re.fullmatch(r"server-build-7-[0-9a-f]{8}", config.server_id)


def test_a_new_configuration_sets_nothing_to_zero() -> None:
    values = re.findall(r": (\S+)", new_config(7890, "0.0.0.0", "x").text)
    assert not {"0", '""', "false"} & set(values)


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_the_file_is_private_from_the_start_and_stays_so(tmp_path: Path) -> None:
    file = tmp_path / "new" / "directory" / "config.yaml"
    for text in ("a: 1\n", "b: 2\n"):
        write_config(file, text)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_text() == text
    assert [entry.name for entry in file.parent.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("build7", "server-build7-"),
        ("DB.Example.Com", "server-db-example-com-"),
        ("a-very-long-host-name", "server-a-very-long-host-"),
        ("Bürö", "server-b-r-"),
        ("", "server-host-"),
        ("...", "server-host-"),
        ("new\nline: x", "server-new-line-x-"),
    ],
)
def test_server_ids(name: str, beginning: str) -> None:
    server_id = new_server_id(name)
    assert re.fullmatch(re.escape(beginning) + "[0-9a-f]{8}", server_id)


@given(st.text())
def test_every_server_id_has_the_format_and_gives_its_name_back(name: str) -> None:
    server_id = new_server_id(name)
    assert re.fullmatch(r"server-[a-z0-9-]{1,16}-[0-9a-f]{8}", server_id)
    assert name_of(server_id) == server_id[len("server-") : -9]


def test_two_servers_of_one_name_differ() -> None:
    assert new_server_id("x") != new_server_id("x")


@pytest.mark.parametrize("server_id", ["", "my-server", "server-x", "server-x-123"])
def test_an_id_of_another_shape_has_no_name(server_id: str) -> None:
    assert name_of(server_id) is None


@pytest.mark.parametrize("text", [None, "# mine\nserver:\r\n  port: 7891\r\n", "server_id: ''\n"])
def test_a_server_id_is_made_once_and_the_rest_stays(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_bytes(text.encode())
    server_id = keep_server_id(file, "build7")
    config = load(paths_in(tmp_path), require_key=False).config
    assert config.server_id == server_id
    written = file.read_bytes().decode()
    assert [line for line in written.splitlines(keepends=True) if "server_id" not in line] == [
        line for line in (text or "").splitlines(keepends=True) if "server_id" not in line
    ]


@pytest.mark.skipif(os.name != "posix", reason="links need no privilege on POSIX only")
def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("old: 1\n")
    (tmp_path / "config.yaml").symlink_to("real.yaml")
    write_config(tmp_path / "config.yaml", "new: 1\n")
    assert (tmp_path / "config.yaml").is_symlink()
    assert (tmp_path / "real.yaml").read_text() == "new: 1\n"
