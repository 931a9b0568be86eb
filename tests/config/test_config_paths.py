"""The table of processes.md 2.2."""

from __future__ import annotations

from pathlib import Path

import pytest

from muxi.config.paths import find_paths, install_type
from muxi.errors import ConfigError

HOME = Path("/home/ada")
CASES = [
    (
        "linux",
        "/opt/muxi/bin/muxi-server",
        ("/home/ada/.muxi/server", "/home/ada/.muxi/server", "/home/ada/.muxi/server/logs"),
        "User-level",
    ),
    (
        "linux",
        "/usr/local/bin/muxi-server",
        ("/etc/muxi/server", "/var/lib/muxi", "/var/log/muxi"),
        "System (Linux)",
    ),
    (
        "linux",
        "/usrlocal/bin/muxi-server",
        ("/home/ada/.muxi/server", "/home/ada/.muxi/server", "/home/ada/.muxi/server/logs"),
        "User-level",
    ),
    (
        "darwin",
        "/usr/local/bin/muxi-server",
        ("/home/ada/.muxi/server", "/home/ada/.muxi/server", "/home/ada/.muxi/server/logs"),
        "User-level",
    ),
    (
        "win32",
        r"C:\Users\Ada\muxi-server.exe",
        (
            r"C:\Users\Ada\Roaming\muxi\server",
            r"C:\Users\Ada\Roaming\muxi\server",
            r"C:\Users\Ada\Roaming\muxi\logs",
        ),
        "User-level",
    ),
    (
        "win32",
        r"c:\program files\MUXI\muxi-server.exe",
        (r"C:\ProgramData\muxi\server", r"C:\ProgramData\muxi\data", r"C:\ProgramData\muxi\logs"),
        "System (Windows)",
    ),
    (
        "win32",
        r"C:\Program Files (x86)\MUXI\muxi-server.exe",
        (r"C:\ProgramData\muxi\server", r"C:\ProgramData\muxi\data", r"C:\ProgramData\muxi\logs"),
        "System (Windows)",
    ),
]
ENVIRONMENT = {"APPDATA": r"C:\Users\Ada\Roaming"}


@pytest.mark.parametrize(("platform", "executable", "expected", "kind"), CASES)
def test_directories_by_platform_and_place(
    platform: str, executable: str, expected: tuple[str, str, str], kind: str
) -> None:
    paths = find_paths(platform, ENVIRONMENT, Path(executable), HOME)
    assert (str(paths.config_dir), str(paths.data_dir), str(paths.log_dir)) == expected
    assert paths.cache_dir == paths.data_dir / "cache"
    assert paths.config_file == paths.config_dir / "config.yaml"
    assert install_type(platform, ENVIRONMENT, Path(executable)) == kind


def test_the_environment_wins_everywhere() -> None:
    environment = {
        "MUXI_CONFIG_DIR": "/a",
        "MUXI_DATA_DIR": "/b",
        "MUXI_LOG_DIR": "/c",
        "MUXI_CACHE_DIR": "/d",
    }
    for platform in ("linux", "darwin", "win32"):
        paths = find_paths(platform, environment, Path("/usr/bin/muxi-server"), HOME)
        directories = (paths.config_dir, paths.data_dir, paths.log_dir, paths.cache_dir)
        assert directories == tuple(map(Path, ("/a", "/b", "/c", "/d")))


@pytest.mark.parametrize("name", ["MUXI_CONFIG_DIR", "MUXI_DATA_DIR", "MUXI_LOG_DIR"])
def test_one_directory_of_ones_own_makes_it_custom(name: str) -> None:
    assert install_type("linux", {name: "/x"}, Path("/usr/bin/muxi-server")) == "Custom"


def test_a_cache_of_ones_own_does_not_make_it_custom() -> None:
    assert install_type("linux", {"MUXI_CACHE_DIR": "/x"}, Path("/opt/muxi-server")) == "User-level"


def test_the_cache_follows_the_data() -> None:
    paths = find_paths("linux", {"MUXI_DATA_DIR": "/data"}, Path("/opt/muxi-server"), HOME)
    assert paths.cache_dir == Path("/data/cache")
    assert paths.config_dir == HOME / ".muxi" / "server"


def test_relative_directories_begin_where_the_caller_stands() -> None:
    environment = {"MUXI_CACHE_DIR": "cache", "MUXI_DATA_DIR": "data", "MUXI_CONFIG_DIR": ""}
    paths = find_paths("linux", environment, Path("/opt/muxi-server"), HOME, Path("/work-here"))
    assert paths.cache_dir == Path("/work-here/cache")
    assert paths.data_dir == Path("/work-here/data")
    assert paths.config_dir == HOME / ".muxi" / "server"


def test_without_a_given_place_relative_ones_begin_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_paths("linux", {"MUXI_DATA_DIR": "d"}, Path("/opt/m"), HOME).data_dir == tmp_path / "d"


def test_windows_without_appdata_is_told_what_to_set() -> None:
    with pytest.raises(ConfigError) as caught:
        find_paths("win32", {}, Path(r"C:\muxi-server.exe"), HOME)
    assert "APPDATA is not set" in caught.value.problems[0]
    full = {f"MUXI_{name}_DIR": "/x" for name in ("CONFIG", "DATA", "LOG")}
    assert find_paths("win32", full, Path(r"C:\muxi-server.exe"), HOME).data_dir == Path("/x")
