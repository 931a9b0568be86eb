"""Python environments as users meet them: shared, kept over a restart; failing, cancelled, killed."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.environment.stand_in import stand_in
from tests.environment.wheels import make_wheel
from tests.integration.outside import is_gone, server_events, until
from tests.live import APP, LiveServer, bundle, environment, running, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INDEX = "http://joe:canary@127.0.0.1:9/simple"
# It answers with what its package says, and with where its Python is.
USES = APP.replace(
    "import http.server",
    "import sys, tiny\nimport http.server",
).replace('json.dumps({"path": self.path})', "json.dumps([tiny.version, sys.prefix])")


def packed(formation_id: str, requirements: str, **fields: object) -> bytes:
    return bundle(formation_id, {"app.py": USES, "requirements.txt": requirements}, **fields)


def environments(live: LiveServer) -> list[str]:
    place = live.data / "environments"
    return sorted(path.name for path in place.iterdir()) if place.is_dir() else []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the directory of a server whose packages come from `wheels` in it alone."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "tiny")
    write_config(tmp_path, f"environments: {{no_index: true, find_links: ['{wheels}'], installer: uv}}")
    return tmp_path


@pytest.fixture
def live(place: Path) -> Iterator[LiveServer]:
    with running(place) as server:
        yield server


def test_one_is_made_shared_and_kept(live: LiveServer, place: Path) -> None:
    headers = {
        **live.signed("POST", "/rpc/formations"),
        "Accept": "text/event-stream",
        "Content-Type": "application/gzip",
        "X-Formation-ID": "one",
    }
    content = packed("one", "tiny==1.0\n")
    with live.client.stream("POST", f"{live.url}/rpc/formations", content=content, headers=headers) as answer:
        events = list(server_events(answer))
    assert events[-1][0] == "complete"
    stages = [data["stage"] for name, data in events if name == "progress"]
    assert "installing" in stages[stages.index("resolving_runtime") : stages.index("spawning")]
    version, prefix = live.get("/api/one/x").json()
    assert version == "1.0"
    (key,) = environments(live)
    assert prefix == str(live.data / "environments" / key)
    assert live.deploy("two", packed("two", "tiny==1.0  # the same\n")).status_code == 201
    assert live.get("/api/two/x").json() == ["1.0", prefix]
    assert environments(live) == [key]
    live.terminate()
    # Neither an installer nor a package is to be had any more.
    with running(place, PATH="/usr/bin:/bin") as again:
        again.wait_until("one", status="running")
        assert again.get("/api/one/x").json() == ["1.0", prefix]


def test_what_can_not_be_installed_changes_nothing(live: LiveServer) -> None:
    answer = live.deploy("one", packed("one", "no-such-package\n"))
    assert answer.status_code == 400
    assert "no-such-package" in answer.json()["message"]
    assert answer.json()["error_code"] == "InstallFailed"
    assert environments(live) == []
    assert live.rpc("GET", "/rpc/formations/one").status_code == 404
    assert live.deploy("one", packed("one", "tiny\n")).status_code == 201
    failed = live.rpc(
        "PUT", "/rpc/formations/one", content=packed("one", "no-such-package\n", version="2.0.0")
    )
    assert failed.status_code == 400
    assert live.get("/api/one/x").json()[0] == "1.0"
    assert live.formation("one")["status"] == "running"


def test_one_that_is_told_to_have_none(live: LiveServer) -> None:
    content = bundle("one", {"requirements.txt": "no-such-package\n"}, environment=False)
    assert live.deploy("one", content).status_code == 201
    assert environments(live) == []


def test_passwords_of_indexes_stay_here(place: Path) -> None:
    """The operator's index needs a password: neither the deployer nor the log nor a command line sees it."""
    config = place / "config" / "config.yaml"
    config.write_text(
        config.read_text().replace("environments: {", f"environments: {{index_url: '{INDEX}', ")
    )
    seen = stand_in(
        place / "bin", f'cat "$TMPDIR/settings.txt" && echo "error: 401 for {INDEX}/tiny/"; exit 2'
    )
    with running(place, PATH=f"{place / 'bin'}:{environment(place)['PATH']}") as live:
        answer = live.deploy("one", packed("one", "tiny\n"))
    assert "***@127.0.0.1:9/simple/tiny/" in answer.text
    assert "canary" not in answer.text
    assert "canary" not in seen.read_text()
    assert "canary" not in str(live.log)


def test_a_cancelled_deploy_ends_the_installer(place: Path) -> None:
    calls = stand_in(place / "bin", "trap '' TERM; sleep 1000; true")
    with (
        running(place, PATH=f"{place / 'bin'}:{environment(place)['PATH']}") as live,
        ThreadPoolExecutor() as pool,
    ):
        deploy = pool.submit(live.deploy, "one", packed("one", "tiny\n"))
        until(lambda: " pip install" in calls.read_text(), "installing")
        live.rpc("DELETE", "/rpc/formations/one")
        assert deploy.result().status_code == 409
        assert environments(live) == []
        until(lambda: is_gone(_pid(calls)), "the installer ended")


def test_what_a_killed_server_was_making_is_made_by_the_next(place: Path) -> None:
    calls = stand_in(place / "bin", f"while [ ! -e {place}/go ]; do sleep 0.05; done")
    with (
        running(place, PATH=f"{place / 'bin'}:{environment(place)['PATH']}") as live,
        ThreadPoolExecutor() as pool,
    ):
        deploy = pool.submit(live.deploy, "one", packed("one", "tiny\n"))
        until(lambda: " pip install" in calls.read_text(), "installing")
        live.process.send_signal(signal.SIGKILL)
        live.process.wait()
        assert deploy.exception() is not None
    orphan = _pid(calls)
    with running(place) as again, ThreadPoolExecutor() as pool:
        try:
            deploy = pool.submit(again.deploy, "one", packed("one", "tiny\n"))
            until(lambda: len(environments(again)) == 3, "the old one is still at work")
        finally:
            os.kill(orphan, signal.SIGKILL)
        assert deploy.result().status_code == 201, deploy.result().text
        assert again.get("/api/one/x").json()[0] == "1.0"
        assert len(environments(again)) == 1


def _pid(calls: Path) -> int:
    return int(calls.read_text().splitlines()[-1].split()[0])
