"""Where the state is: /data, the original's places, volumes of somebody else's; a read-only system."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.environment.wheels import make_wheel
from tests.image.built import TAG
from tests.image.container import in_volume, once, started, volume
from tests.live import APP, KEY, SECRET, bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.image.built import Docker

ORIGINAL = "/root/.muxi/server"
#: What the original's image has left in its volume, as root.
LEFT = f"""
cd {ORIGINAL}
cat > config.yaml <<END
server_id: server-original
server: {{host: 0.0.0.0, port: 7890}}
auth: {{enabled: true, keys: [{{id: {KEY}, secret: {SECRET}}}]}}
END
mkdir formations logs
chown -R root:root .
chmod 600 config.yaml
chmod 755 .
"""


@pytest.fixture
def kept(docker: Docker) -> Iterator[str]:
    with volume(docker) as name:
        yield name


@pytest.mark.parametrize("place", [ORIGINAL, "/root/.muxi"])
def test_an_empty_volume_at_the_original_s_place_is_used(docker: Docker, kept: str, place: str) -> None:
    mounted = ("--volume", f"{kept}:{place}")
    with started(docker, *mounted) as first:
        first.deploy("kept", bundle("kept"))
        assert "server.json" not in first.run("ls", "/data")
        assert first.stop() == 0
    with started(docker, *mounted, key=first.key) as second:
        assert second.formation("kept")["status"] == "running"
        assert "Running: 1" in second.run("muxi-server", "status")


def test_the_original_s_places_of_a_whole_machine_are_used(docker: Docker, kept: str) -> None:
    with volume(docker) as data:
        mounted = ("--volume", f"{kept}:/etc/muxi", "--volume", f"{data}:/var/lib/muxi")
        with started(docker, *mounted) as first:
            first.deploy("kept", bundle("kept"))
            assert first.stop() == 0
        with started(docker, *mounted, key=first.key) as second:
            assert second.formation("kept")["status"] == "running"
            assert second.run("ls", "/etc/muxi/server").split() == ["config.yaml"]


def test_a_volume_of_root_s_is_explained_and_what_is_told_helps(docker: Docker, kept: str) -> None:
    in_volume(docker, kept, LEFT, at=ORIGINAL)
    mounted = ("--volume", f"{kept}:{ORIGINAL}")
    status, said = once(docker, *mounted)
    assert status == 1
    assert said.startswith(f"Error: User 10001 can't write to {ORIGINAL}, which belongs to user 0.")
    (told,) = re.findall(r"docker (run .*chown.*)", said)
    docker(*told.replace("VOLUME", kept).replace("IMAGE", TAG).split())
    with started(docker, *mounted, key=(KEY, SECRET)) as box:
        assert box.rpc("GET", "/rpc/server/status").status_code == 200


def test_root_takes_a_volume_of_the_original_s_as_it_is(docker: Docker, kept: str) -> None:
    in_volume(docker, kept, LEFT, at=ORIGINAL)
    with started(docker, "--user", "root", "--volume", f"{kept}:{ORIGINAL}", key=(KEY, SECRET)) as box:
        box.deploy("rooted", bundle("rooted"))
        assert box.run("stat", "-c", "%u", "/proc/1").strip() == "0"


def test_a_directory_of_the_host_s_that_belongs_to_root_is_explained(docker: Docker, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    status, said = once(docker, "--volume", f"{tmp_path}:/data")
    assert (status, list(tmp_path.iterdir())) == (1, [])
    assert "Error: User 10001 can't write to /data, which belongs to user 0." in said
    assert once(docker, "--volume", f"{tmp_path}:/data", command=("version",))[0] == 0


def test_directories_may_be_chosen(docker: Docker, kept: str) -> None:
    chosen = ("--env", "MUXI_CONFIG_DIR=/data/a", "--env", "MUXI_DATA_DIR=/data/b")
    with started(docker, "--volume", f"{kept}:/data", *chosen) as box:
        assert {"a", "b"} <= set(box.run("ls", "/data").split())
        assert "server.json" not in box.run("ls", "/data").split()
        assert "server.json" in box.run("ls", "/data/b").split()


def test_it_runs_without_rights_on_a_read_only_system(docker: Docker) -> None:
    closed = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    with started(docker, *closed) as box:
        box.deploy("closed", bundle("closed"))
        assert box.get("/api/closed/where").json() == {"path": "/where"}
        assert box.stop() == 0, box.log


def test_a_formation_gets_an_environment_of_its_own(docker: Docker, tmp_path: Path) -> None:
    app = f"import greeter\n{APP}".replace('"/pid"', '"/greet"').replace("os.getpid()", "greeter.__file__")
    wheel = make_wheel(tmp_path, "greeter")
    files: dict[str, str | bytes] = {"app.py": app, "requirements.txt": f"./{wheel.name}\n"}
    files[wheel.name] = wheel.read_bytes()
    with started(docker) as box:
        box.deploy("packed", bundle("packed", files))
        assert box.get("/api/packed/greet").json().startswith("/data/environments/")
