"""The image, built for real: by an engine of the tests' own, on a Debian that debootstrap makes.

Nothing is pulled: the bases have the names that the Dockerfile asks for, and are made once, into
`.cache/image`. What is built from is what git knows, and the binary under the name of a release's.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.containers.dockerd import NotHere

if TYPE_CHECKING:
    from tests.containers.dockerd import Dockerd

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "image"
TAG = "muxi-server:test"
MIRROR = os.environ.get("MUXI_DEBIAN_MIRROR", "http://deb.debian.org/debian")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
#: What Debian's slim image leaves out, as far as it counts.
NOT_SLIM = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/cache/apt")
MINUTES = 60


@dataclass(frozen=True)
class Docker:
    """The client program, which speaks to one engine and has no settings of anybody's."""

    program: str
    engine: Dockerd

    def __call__(self, *arguments: str | Path, timeout: float = 2 * MINUTES) -> str:
        """Run a command and return what it prints. A failing one fails the test."""
        done = self.attempt(*arguments, timeout=timeout)
        assert done.returncode == 0, f"docker {' '.join(map(str, arguments))}: {done.stderr[-4000:]}"
        return done.stdout

    def attempt(
        self, *arguments: str | Path, timeout: float = 2 * MINUTES
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments],
            env=_environment(self.engine.address, self.engine.directory),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def find_client(engine: Dockerd) -> Docker:
    """Return a client that builds by BuildKit: one with buildx, or from the time when it had it inside."""
    path = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin"]
    for program in dict.fromkeys(f"{directory}/docker" for directory in path):
        if os.access(program, os.X_OK) and _builds(program):
            return Docker(program, engine)
    raise NotHere("no docker client that has BuildKit (install docker-buildx)")


def build(docker: Docker, binary: Path, directory: Path) -> None:
    """Build it as TAG, with this binary inside."""
    base = debian()
    for name in ("debian:12", "debian:12-slim"):
        docker("import", "--platform", f"linux/{ARCHITECTURE}", base, name)
    context = make_context(binary, directory)
    # The bridge of the engine's leads nowhere; the mirror of the packages is reached by the host's network.
    docker(
        *("build", "--network", "host", "--build-arg", "BINARY=given", "--tag", TAG, context),
        timeout=10 * MINUTES,
    )


def make_context(binary: Path, directory: Path) -> Path:
    """Copy what git would have of this checkout, with the binary where a release's would be."""
    listed: list[str | Path] = [
        "git",
        "-C",
        ROOT,
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    for name in subprocess.check_output(listed, text=True).split("\0"):
        if name and (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name)
    (directory / "dist").mkdir()
    shutil.copy(binary, directory / "dist" / f"muxi-server-linux-{ARCHITECTURE}")
    return directory


def debian() -> Path:
    """Return an archive of a minimal Debian 12. Raises NotHere."""
    packed = CACHE / f"debian-12-{ARCHITECTURE}.tar"
    if packed.exists():
        return packed
    program = shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise NotHere("debootstrap is not here, and a base image is not pulled")
    CACHE.mkdir(parents=True, exist_ok=True)
    root, unfinished = CACHE / "debian", packed.with_suffix(".new")
    shutil.rmtree(root, ignore_errors=True)
    try:
        command: list[str | Path] = [program, "--variant=minbase", "bookworm", root, MIRROR]
        done = subprocess.run(command, capture_output=True, text=True, timeout=9 * MINUTES, check=False)
        if done.returncode != 0:
            raise NotHere(f"debootstrap failed: {done.stdout.strip()[-300:]}")
        with tarfile.open(unfinished, "w") as archive:
            archive.add(root, ".", filter=_slim)
        unfinished.replace(packed)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return packed


def _slim(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    inside = member.name.removeprefix("./")
    return None if any(inside.startswith(f"{name}/") for name in NOT_SLIM) else member


def _builds(program: str) -> bool:
    """Tell whether this client builds by BuildKit here. From Docker 23 on that takes a plugin."""
    asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    major = asked.stdout.removeprefix("Docker version ").partition(".")[0]
    if major.isdigit() and 19 <= int(major) < 23:
        return True
    return subprocess.run([program, "buildx", "version"], capture_output=True, check=False).returncode == 0


def _environment(address: str, directory: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "DOCKER_CONFIG": str(directory / "client"),
        "DOCKER_HOST": address,
        "DOCKER_BUILDKIT": "1",
    }
