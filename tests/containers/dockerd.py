"""A Docker engine of the tests' own: private directories, socket and bridge, ended by its pid.

Debian's `docker.io` is installed where it is missing and that can be done; whoever can't have an
engine is told why.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

DEADLINE = 30
IMAGE = "muxi-test:1"
PACKAGES = ("docker.io", "iproute2")
LEFT_OUT = frozenset(
    {"test", "__pycache__", "idlelib", "lib2to3", "pydoc_data", "ensurepip", "tkinter", "distutils"}
)


class NotHere(Exception):
    """There can be no engine of our own on this machine; says why."""


def find_dockerd() -> str:
    """Return the engine's program, installed first if need be. Raises NotHere."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    if os.geteuid() != 0:
        raise NotHere("an engine of one's own needs root")
    if not (shutil.which("dockerd", path=path) and shutil.which("ip", path=path)):
        _install()
    found = shutil.which("dockerd", path=path)
    if found is None:
        raise NotHere("dockerd is not here, and docker.io could not be installed")
    return found


def _install() -> None:
    """Install it, unless the system would then start an engine as a service of its own."""
    if Path("/run/systemd/system").exists() and "MUXI_DOCKER" not in os.environ:
        raise NotHere("dockerd is not here; install docker.io, or let `make test-docker` do it")
    if shutil.which("apt-get") is None:
        raise NotHere("dockerd is not here, and there is no apt-get to install it")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    hurry = ["-q", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10"]
    install = ["apt-get", "install", "-y", "--no-install-recommends", *hurry, *PACKAGES]
    for command in (["apt-get", "update", *hurry], install):
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=240, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotHere("docker.io could not be installed: it took too long") from None
        if done.returncode != 0:
            raise NotHere(f"docker.io could not be installed: {done.stderr.strip()[-300:]}")


class Dockerd:
    """The engine; a context manager. `stop`, `kill` and `start` are for tests of its absence."""

    def __init__(self, directory: Path) -> None:
        self._program = find_dockerd()
        self.directory = directory
        self.socket = Path(f"/tmp/muxi-{secrets.token_hex(4)}.sock")  # a socket's path must be short
        self._bridge = f"muxi{secrets.token_hex(3)}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    def __enter__(self) -> Self:
        self._make_bridge()
        try:
            self.start()
            self._import_image()
            self._try_it()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            self.remove_all()
        self.stop()
        subprocess.run(["ip", "link", "del", self._bridge], check=False, capture_output=True)
        self.socket.unlink(missing_ok=True)
        _unmount_below(self.directory)

    def client(self) -> httpx.Client:
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://engine/v1.41", timeout=60
        )

    def start(self) -> None:
        """Start it, if it does not run."""
        if self._process is not None:
            return
        (self.directory / "daemon.json").write_text("{}")
        with (self.directory / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--host=unix://{self.socket}",
                    f"--data-root={self.directory}/data",
                    f"--exec-root={self.directory}/exec",
                    f"--pidfile={self.directory}/pid",
                    f"--config-file={self.directory}/daemon.json",
                    f"--bridge={self._bridge}",
                    "--iptables=false",
                    "--ip6tables=false",
                    "--ip-masq=false",
                    "--shutdown-timeout=5",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + DEADLINE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise NotHere(f"dockerd does not start: {self.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in good order; it ends its containers first."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it alone: its containers run on until it is back."""
        self._end(signal.SIGKILL)
        (self.directory / "pid").unlink(missing_ok=True)
        # Its containerd goes with it, but may be nobody's to reap for a while, and then counts as running.
        (self.directory / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def containers(self, **labels: str) -> list[dict[str, object]]:
        filters = {"label": [f"{name}={value}" for name, value in labels.items()]}
        with self.client() as client:
            params = {"all": "1", "filters": json.dumps(filters)}
            found: list[dict[str, object]] = client.get("/containers/json", params=params).json()
        return found

    def remove_all(self) -> None:
        with self.client() as client:
            for container in self.containers():
                client.delete(f"/containers/{container['Id']}", params={"force": "1"})

    def log_tail(self) -> str:
        return (self.directory / "dockerd.log").read_text()[-1500:]

    def _answers(self) -> bool:
        """Ask it without httpx, which leaves the socket open when an engine on its way up hangs up."""
        with socket.socket(socket.AF_UNIX) as trial:
            trial.settimeout(DEADLINE)
            try:
                trial.connect(str(self.socket))
                trial.sendall(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
                return trial.recv(64).startswith(b"HTTP/1.1 200 ")
            except OSError:
                return False

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(DEADLINE)

    def _make_bridge(self) -> None:
        for octet in range(100, 250):
            network = f"10.219.{octet}.1/24"
            if network.partition("/")[0] not in subprocess.check_output(["ip", "-4", "a"], text=True):
                break
        else:
            raise NotHere("no network is free for a bridge")
        for command in (
            ["ip", "link", "add", self._bridge, "type", "bridge"],
            ["ip", "addr", "add", network, "dev", self._bridge],
            ["ip", "link", "set", self._bridge, "up"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise NotHere(f"no bridge can be made: {done.stderr.strip()}")

    def _import_image(self) -> None:
        packed = self.directory / "image.tar"
        pack_python(packed)
        params = {"fromSrc": "-", "repo": IMAGE.partition(":")[0], "tag": IMAGE.partition(":")[2]}
        with self.client() as client, packed.open("rb") as content:
            answer = client.post("/images/create", params=params, content=content)
        assert answer.status_code == 200, answer.text
        packed.unlink()

    def _try_it(self) -> None:
        """Run a container: where an engine starts, its containers may still not be allowed to."""
        loopback = [{"HostIp": "127.0.0.1", "HostPort": ""}]
        host = {"PortBindings": {"80/tcp": loopback}, "Init": True, "Memory": 64 << 20}
        body = {"Image": IMAGE, "Cmd": ["/usr/bin/python3", "-c", ""], "HostConfig": host}
        with self.client() as client:
            made = client.post("/containers/create", json=body)
            started = client.post(f"/containers/{made.json().get('Id')}/start") if made.is_success else made
            if started.status_code != 204:
                raise NotHere(f"containers can't be started here: {started.text.strip()}")
            ended = client.post(f"/containers/{made.json()['Id']}/wait").json()
            client.delete(f"/containers/{made.json()['Id']}", params={"force": "1"})
        if ended.get("StatusCode") != 0:
            raise NotHere(f"containers do not run here: {ended}")


def pack_python(path: Path) -> None:
    """Make a root file system of the machine's Python, its libraries, and nothing else."""
    python = os.path.realpath("/usr/bin/python3")
    library = f"/usr/lib/{Path(python).name}"
    if not Path(library).is_dir():
        raise NotHere("there is no /usr/bin/python3 with its library to make an image of")
    linked = set(re.findall(r"(/[^ ]+)", subprocess.check_output(["ldd", python], text=True)))
    with tarfile.open(path, "w") as archive:
        for name in ("tmp", "etc", "proc", "dev", "sys", "usr", "usr/bin"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(directory)
        archive.add(python, "usr/bin/python3")
        for one in linked:
            archive.add(os.path.realpath(one), one.lstrip("/"))
        archive.add(library, library.lstrip("/"), filter=_wanted)


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(member.name).name
    return None if name in LEFT_OUT or name.startswith("config-3") else member


def _unmount_below(directory: Path) -> None:
    """Take away what a killed engine has left mounted, so that the directory can be removed."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in reversed([one for one in mounted if one.startswith(f"{directory}/")]):
        subprocess.run(["umount", "-l", path], check=False, capture_output=True)
