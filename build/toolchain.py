"""The compiler, and the system that it compiles for: an older one than this machine's, where it can be had.

A program asks for the glibc that it was linked with, or a newer one. So it is linked with an old one:
its headers and its library are unpacked into a directory that the compiler takes for the root
of the system (`--sysroot`), and beside them the static libraries of this machine's own Debian, which
are kept secure as the old one's are not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build.apt import Archive
from build.errors import CannotBuildError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from build.options import Sysroot

#: What must be installed to compile at all.
PACKAGES = "gcc make pkg-config xz-utils"
#: `-B` goes before the directories that gcc finds by its own place, which are this system's.
WRAPPER = """\
#!/bin/sh
libraries={root}/usr/lib/{architecture}
exec {compiler} --sysroot={root} -B$libraries -L$libraries -L{root}/lib/{architecture} "$@"
"""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A C compiler, and the environment in which everything is built with it."""

    compiler: Path
    environment: Mapping[str, str]
    #: Whether what is built runs on the old systems that are promised.
    portable: bool
    #: Says what it is made of, to tell whether something was built with the same.
    digest: str

    def library(self, name: str) -> Path | None:
        """Return a static library, from where the compiler takes it."""
        found = _output(self.compiler, f"-print-file-name={name}")
        return None if found == name else Path(found).resolve()


def find_toolchain(options: Sysroot, cache: Path) -> Toolchain:
    """Return one for old systems, or else, which is said, one for this. Raises CannotBuildError."""
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        raise CannotBuildError(f"there is no C compiler. Debian, Ubuntu: apt install {PACKAGES}")
    version = _output(compiler, "--version")
    try:
        root = _sysroot(options, cache, Path(compiler))
    except (OSError, CannotBuildError, subprocess.CalledProcessError) as error:
        print(f"It will ask for this system's glibc, since there is no older one: {error}", flush=True)
        return Toolchain(Path(compiler), {"CC": compiler}, portable=False, digest=_digest(version))
    wrapped = root / "bin" / "gcc"
    environment = {
        "CC": str(wrapped),
        "CXX": str(wrapped),
        "PKG_CONFIG_SYSROOT_DIR": str(root),
        "PKG_CONFIG_LIBDIR": os.pathsep.join(map(str, root.glob("usr/lib/*/pkgconfig"))),
        "PKG_CONFIG_PATH": "",
    }
    return Toolchain(wrapped, environment, portable=True, digest=_digest(version, contents(root)))


def contents(root: Path) -> str:
    """Return which packages a sysroot was made of, a line each."""
    return (root / "packages").read_text()


def _sysroot(options: Sysroot, cache: Path, compiler: Path) -> Path:
    """Return the directory, made if it is not there yet: whole, or not at all."""
    root = cache / _digest(repr(options), str(compiler), WRAPPER)
    if root.exists():
        return root
    print(f"Fetching the C library of Debian {options.suite} ...", flush=True)
    part = root.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    archive = Archive(part / "apt", suite=options.suite)
    old = [f"{name}/{options.suite}" for name in options.old]
    files = archive.download([*old, *options.libraries])
    for file in files:
        subprocess.run(["dpkg-deb", "--extract", file, part], check=True)
    keep_links_inside(part)
    (part / "packages").write_text("".join(f"{file.stem}\n" for file in files))
    shutil.rmtree(part / "apt")
    (part / "bin").mkdir(exist_ok=True)
    wrapped = part / "bin" / "gcc"
    architecture = _output(compiler, "-print-multiarch")
    wrapped.write_text(WRAPPER.format(compiler=compiler, root=root, architecture=architecture))
    wrapped.chmod(0o755)
    part.replace(root)
    return root


def keep_links_inside(root: Path) -> None:
    """Let absolute links lead to where they would if `root` were the root."""
    for directory, _, names in os.walk(root):
        for path in (Path(directory, name) for name in names):
            if path.is_symlink() and (target := path.readlink()).is_absolute():
                path.unlink()
                path.symlink_to(os.path.relpath(f"{root}{target}", directory))


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
