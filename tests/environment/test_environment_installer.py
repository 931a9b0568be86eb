from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muxi.config.environments import EnvironmentsConfig
from muxi.environment.installer import (
    Pip,
    Uv,
    Workshop,
    check_installer,
    choose_installer,
    installer_environment,
)
from muxi.environment.interpreter import Interpreter
from muxi.environment.recipe import Recipe
from muxi.environment.requirements import Requirements, server_requirements
from muxi.errors import OperatorError

PYTHON = Interpreter(
    Path("/usr/bin/python3.12"), Path("/usr/bin/python3.12"), (3, 12, 1), "cp312", has_pip=True
)
PLAIN = Requirements("requirements.txt", ("httpx",))
LOCKED = Requirements("uv.lock", ("uv.lock abc",))
PROJECT = Requirements("pyproject.toml", ("a", "b"), written=("a", "b"))
SECRET = EnvironmentsConfig(
    index_url="https://joe:s3cret@host/simple",
    extra_index_urls=("https://two/simple",),
    find_links=("file:///srv/wheels",),
)
SHOP = Workshop(Path("/d/environments/k"), Path("/d/environments/k.scratch"))


PIP = "/d/environments/k/bin/python -I -m pip --no-input --disable-pip-version-check"


def recipe(requirements: Requirements = PLAIN, settings: EnvironmentsConfig | None = None) -> Recipe:
    return Recipe(requirements, Path("/release"), PYTHON, settings or EnvironmentsConfig())


def words(*commands: tuple[str, ...]) -> list[str]:
    return [" ".join(command) for command in commands]


def test_what_pip_is_told() -> None:
    assert words(*Pip().commands(recipe(), SHOP)) == [
        "/usr/bin/python3.12 -I -m venv /d/environments/k",
        f"{PIP} install -r /release/requirements.txt",
    ]


def test_what_uv_is_told() -> None:
    assert words(*Uv("/opt/uv").commands(recipe(), SHOP)) == [
        "/opt/uv venv --no-project --python /usr/bin/python3.12 /d/environments/k",
        (
            "/opt/uv pip install --python /d/environments/k/bin/python --compile-bytecode "
            "-r /release/requirements.txt"
        ),
    ]


def test_what_uv_is_told_of_its_lock() -> None:
    _, export, install = words(*Uv("uv").commands(recipe(LOCKED), SHOP))
    assert export == (
        "uv export --frozen --no-dev --no-emit-project --no-header --quiet --project /release "
        "--python /usr/bin/python3.12 --output-file /d/environments/k.scratch/locked.txt"
    )
    assert install.endswith("-r /d/environments/k.scratch/locked.txt")


@pytest.mark.parametrize("installer", [Pip(), Uv("uv")])
def test_settings_come_in_a_file_and_passwords_in_no_command_line(installer: Pip | Uv) -> None:
    made = recipe(PROJECT, replace(SECRET, no_index=True, require_hashes=True))
    *_, install = installer.commands(made, SHOP)
    assert "s3cret" not in " ".join(install)
    assert install[-5:] == (
        "-r", "/d/environments/k.scratch/settings.txt", "-r", "/d/environments/k.scratch/written.txt",
        "--require-hashes",
    )  # fmt: skip
    files = {path.name: text for path, text in SHOP.files(made).items()}
    assert files == {
        "settings.txt": "--index-url https://joe:s3cret@host/simple\n--extra-index-url https://two/simple\n"
        "--find-links file:///srv/wheels\n--no-index\n",
        "written.txt": "a\nb\n",
    }


@pytest.mark.parametrize("installer", [Pip(), Uv("uv")])
def test_an_environment_without_packages(installer: Pip | Uv) -> None:
    commands = installer.commands(recipe(server_requirements()), SHOP)
    assert " -r " not in " ".join(commands[-1])


def test_installers_see_what_they_need_of_the_servers_environment_and_no_more() -> None:
    server = {
        "HOME": "/home/muxi",
        "https_proxy": "http://proxy:3128",
        "SSL_CERT_FILE": "/ca.pem",
        "PYTHONPATH": "/evil",
        "PIP_INDEX_URL": "https://other",
        "UV_INDEX_URL": "https://other",
        "VIRTUAL_ENV": "/server",
        "AWS_SECRET_ACCESS_KEY": "canary",
    }
    made = installer_environment(server, "/usr/bin", Path("/cache"), Path("/scratch"))
    assert {name: made[name] for name in server if name in made} == {
        "HOME": "/home/muxi",
        "https_proxy": "http://proxy:3128",
        "SSL_CERT_FILE": "/ca.pem",
    }
    assert (made["PATH"], made["TMPDIR"]) == ("/usr/bin", "/scratch")
    assert (made["PIP_CACHE_DIR"], made["UV_CACHE_DIR"]) == ("/cache/pip", "/cache/uv")


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [("auto", True, "uv"), ("auto", False, "pip"), ("pip", True, "pip"), ("uv", True, "uv")],
)
def test_the_choice(wanted: str, there: bool, chosen: str) -> None:
    settings = EnvironmentsConfig(installer=wanted)
    found = choose_installer(settings, "/usr/bin", lambda name, _: f"/bin/{name}" if there else None)
    assert found.name == chosen


def test_uv_that_has_to_be_and_is_not_there() -> None:
    with pytest.raises(OperatorError, match="/usr/bin") as caught:
        choose_installer(EnvironmentsConfig(installer="uv"), "/usr/bin", lambda *_: None)
    assert caught.value.code == "InstallerNotFound"


def test_what_pip_can_not_do() -> None:
    with pytest.raises(OperatorError, match=r"uv\.lock"):
        check_installer(Pip(), PYTHON, "uv.lock")
    with pytest.raises(OperatorError) as caught:
        check_installer(Pip(), replace(PYTHON, has_pip=False), "requirements.txt")
    assert "python3.12-venv" in str(caught.value.cure)
    check_installer(Uv("uv"), replace(PYTHON, has_pip=False), "uv.lock")


def test_the_versions_that_installers_name() -> None:
    report = '{"version": "1", "install": [{"metadata": {"name": "muxi-runtime", "version": "1.2.3"}}]}'
    assert Pip().resolved(report) == "1.2.3"
    assert Uv("uv").resolved("# a comment\nmuxi-runtime==1.2.3\n") == "1.2.3"
    for nothing in ("", "{}", '{"install": []}', "[]"):
        assert Pip().resolved(nothing) is None
        assert Uv("uv").resolved(nothing) is None


def test_the_key_is_of_all_that_decides() -> None:
    same = recipe(PLAIN, EnvironmentsConfig(installer="pip", timeout=7.0))
    others = [
        recipe(Requirements("requirements.txt", ("httpx==1",))),
        replace(recipe(), interpreter=replace(PYTHON, version=(3, 12, 2))),
        replace(recipe(), interpreter=replace(PYTHON, real=Path("/opt/python3.12"))),
        recipe(PLAIN, EnvironmentsConfig(index_url="https://host/simple")),
        recipe(PLAIN, EnvironmentsConfig(require_hashes=True)),
        recipe(PLAIN, EnvironmentsConfig(no_index=True, find_links=("file:///srv",))),
    ]
    assert same.key == recipe().key
    assert replace(recipe(), root=Path("/other")).key == recipe().key
    assert len({recipe().key, *(other.key for other in others)}) == 1 + len(others)
    assert "s3cret" not in recipe(PLAIN, SECRET).key


def test_what_names_files_of_its_bundle_is_shared_with_no_other() -> None:
    local = recipe(replace(PLAIN, local=True))
    assert replace(local, root=Path("/other")).key != local.key
