"""Whatever is uploaded: a clear refusal, nothing left behind, and the next deploy works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conformance.wire import connect
from tests.formation.hostile import HOSTILE, write_zeros_bomb
from tests.integration.outside import RECORDER, check_files, deployed, recorder, until
from tests.live import bundle, tar_gz

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.live import LiveServer

ID = "hello"
CRASH = "import sys\nprint('first words')\nprint('no model key', file=sys.stderr)\nsys.exit(3)\n"
SIGNALLED = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
DEAF = "import time\nprint('never listening', flush=True)\ntime.sleep(600)\n"
SICK = RECORDER.decode().replace("self.send_response(200)", "self.send_response(500)")

# name → bundle, more headers, status, what the message must say
REFUSED: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "no-manifest": (tar_gz({"hello/app.py": ""}), {}, 400, "none of formation.afs"),
    "manifest-not-yaml": (tar_gz({"formation.afs": "a: [", "app.py": ""}), {}, 400, "can't be used"),
    "manifest-a-list": (tar_gz({"formation.afs": "- id: hello", "app.py": ""}), {}, 400, "can't be used"),
    "manifest-with-a-wrong-id": (
        tar_gz({"formation.afs": "id: Hello World", "app.py": ""}),
        {},
        400,
        "lowercase letters, numbers, and hyphens",
    ),
    "manifest-with-a-reserved-id": (
        tar_gz({"formation.afs": "id: admin", "app.py": ""}),
        {},
        400,
        "is reserved",
    ),
    "manifest-without-a-program": (tar_gz({"formation.afs": "id: hello"}), {}, 400, "neither a `command`"),
    "id-mismatch": (bundle("another"), {}, 400, "id mismatch"),
    "version-mismatch": (bundle(ID), {"X-Formation-Version": "9.9.9"}, 400, "version mismatch"),
    "wrong-content-type": (bundle(ID), {"Content-Type": "application/zip"}, 400, "application/gzip"),
    "id-with-dots": (bundle(ID), {"X-Formation-ID": "../../etc"}, 400, "Invalid X-Formation-ID"),
    "id-in-capitals": (bundle(ID), {"X-Formation-ID": "Hello"}, 400, "Invalid X-Formation-ID"),
    "id-too-short": (bundle(ID), {"X-Formation-ID": "ab"}, 400, "3-50 characters"),
    "id-reserved": (bundle(ID), {"X-Formation-ID": "rpc"}, 400, "is reserved"),
    "runtime-that-is-no-version": (bundle(ID, muxi_runtime="one", description="x"), {}, 400, "not a version"),
    "program-not-there": (bundle(ID, command=["no-such-program"]), {}, 400, "no-such-program"),
    "environment-of-ours": (bundle(ID, env={"PORT": "1"}), {}, 400, "PORT"),
    "crash-at-start": (bundle(ID, {"app.py": CRASH}), {}, 400, "Formation crashed during startup: "),
    "death-by-signal": (bundle(ID, {"app.py": SIGNALLED}), {}, 400, "SIGSEGV"),
    "never-listening": (
        bundle(ID, {"app.py": DEAF}, health={"startup_timeout": "1s"}),
        {},
        400,
        "Formation failed health check after 1s: ",
    ),
    "never-healthy": (bundle(ID, {"app.py": SICK}, health={"startup_timeout": "1s"}), {}, 400, "500"),
}


@pytest.fixture
def unchanged(server: LiveServer) -> Iterator[None]:
    """Whatever the test uploads, the files are as before, and the formation beside it serves on."""
    if server.rpc("GET", "/rpc/formations/bystander").status_code == 404:
        deployed(server, "bystander")
    pid = server.formation("bystander")["pid"]
    before = server.files()
    registry = (server.data / "registry.json").read_text()
    yield
    check_files(server, before)
    assert formations(registry) == formations((server.data / "registry.json").read_text())
    assert server.get("/api/bystander/x").json() == {"pid": pid}
    assert server.get(f"/api/{ID}/x").status_code == 404


def formations(registry: str) -> list[str]:
    return [record["id"] for record in json.loads(registry)["formations"]]


def check_refusal(answer: httpx.Response, status: int, says: str) -> dict[str, object]:
    error: dict[str, object] = answer.json()
    assert answer.status_code == status, error
    assert says in str(error["message"])
    assert error["cure"], "it does not say what to do"
    assert (error["success"], error["code"]) == (False, status)
    assert "Traceback" not in answer.text
    return error


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("case", REFUSED)
def test_a_bundle_that_can_not_be_used(server: LiveServer, case: str) -> None:
    packed, headers, status, says = REFUSED[case]
    check_refusal(server.deploy(ID, packed, **headers), status, says)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive(server: LiveServer, case: str) -> None:
    packed, says = HOSTILE[case]
    check_refusal(server.deploy(ID, packed), 400, says)


@pytest.mark.usefixtures("unchanged")
def test_a_crash_at_start_tells_its_status_and_last_words(server: LiveServer) -> None:
    error = check_refusal(server.deploy(ID, bundle(ID, {"app.py": CRASH})), 400, "status 3")
    details = json.dumps(error["details"])
    assert "first words" in details
    assert "no model key" in details


@pytest.mark.usefixtures("unchanged")
def test_a_formation_that_never_listens_tells_so(server: LiveServer) -> None:
    packed = bundle(ID, {"app.py": DEAF}, health={"startup_timeout": "1s"})
    error = check_refusal(server.deploy(ID, packed), 400, "after 1s")
    assert "never listening" in json.dumps(error["details"])
    assert "refused" in str(error["message"]).lower()


@pytest.mark.usefixtures("unchanged")
def test_a_bomb_of_ten_gigabytes(server: LiveServer, tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    write_zeros_bomb(path, 10 * 1024**3)
    with path.open("rb") as file:
        answer = server.deploy(ID, iter(lambda: file.read(64 * 1024), b""))  # type: ignore[arg-type]
    check_refusal(answer, answer.status_code, "bytes")
    assert answer.status_code in {400, 413}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_client_that_leaves_in_the_middle_of_its_upload(server: LiveServer, framing: str) -> None:
    packed = recorder(ID)
    half = packed[: len(packed) // 2]
    signed = server.signed("POST", "/rpc/formations")["Authorization"]
    head = (
        f"POST /rpc/formations HTTP/1.1\r\nHost: x\r\nAuthorization: {signed}\r\n"
        f"Content-Type: application/gzip\r\nX-Formation-ID: {ID}\r\nX-Request-ID: left-{framing}\r\n"
    )
    if framing == "chunked":
        raw = f"{head}Transfer-Encoding: chunked\r\n\r\n{len(half):x}\r\n".encode() + half + b"\r\n"
    else:
        raw = f"{head}Content-Length: {len(packed)}\r\n\r\n".encode() + half
    directory = server.formations / ".tmp"
    with connect(server.url) as sock:
        sock.sendall(raw)
        until(lambda: any(directory.iterdir()), "the upload has begun")
    until(lambda: not any(directory.iterdir()), "what came of it is gone")
    until(lambda: f"left-{framing}" in server.rpc("GET", "/rpc/server/logs").text, "it is in the audit log")


def test_after_all_that_a_good_bundle_works(server: LiveServer) -> None:
    assert server.deploy(ID, recorder(ID)).status_code == 201
    assert server.get(f"/api/{ID}/x").status_code == 200
    assert server.rpc("DELETE", f"/rpc/formations/{ID}").status_code == 200
