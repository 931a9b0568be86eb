"""A CPython for the Linux binary: all extension modules in one static library, and in it all they need.

What is linked with it needs the C library, and no other file. Nuitka runs on this interpreter, and
links its library. msgspec's extension module is one of ours here as well, for the binary to be one
file; OpenSSL, SQLite and the others are the system's static libraries (Debian's -dev packages).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from build.errors import CannotBuildError
from build.source import fetch

if TYPE_CHECKING:
    from build.options import CPython
    from build.toolchain import Toolchain

#: Static libraries by the name that CPython's `configure` knows them by.
LIBRARIES = {
    "BZIP2": "libbz2.a",
    "LIBFFI": "libffi.a",
    "LIBLZMA": "liblzma.a",
    "LIBSQLITE3": "libsqlite3.a",
    "ZLIB": "libz.a",
}
OPENSSL = ("libssl.a", "libcrypto.a")
PACKAGES = "libbz2-dev libffi-dev liblzma-dev libsqlite3-dev libssl-dev zlib1g-dev"
#: A wrapper that gives msgspec's module a name of its own among the functions of one program.
WRAPPER = """\
#define _GNU_SOURCE 1
#undef Py_BUILD_CORE
#undef Py_BUILD_CORE_BUILTIN
#define PyInit__core PyInit__msgspec_core
#include "_msgspec/_core.c"
"""
MARKER = "/* -- ADDMODULE MARKER 2 -- */"
ENTRY = '\n    {"msgspec._core", PyInit__msgspec_core},\n'
#: What must be there without a file of its own.
PROOF = """\
import sys
for name in "_bz2 _ctypes _decimal _json _lzma _socket _sqlite3 _ssl zlib msgspec._core".split():
    assert name in sys.builtin_module_names, name
import ctypes, decimal, lzma, sqlite3, ssl, xml.parsers.expat
sqlite3.connect(":memory:").execute("SELECT 1")
print(ssl.OPENSSL_VERSION)
"""


def static_python(options: CPython, msgspec: Path, tools: Toolchain, cache: Path, jobs: int) -> Path:
    """Return the interpreter, built if it is not in the cache yet. Raises CannotBuildError.

    `msgspec` is the directory of its C source.
    """
    libraries = [_library(tools, name) for name in (*LIBRARIES.values(), *OPENSSL)]
    home = cache / f"{options.version}-{_key(options, msgspec, tools, libraries)}"
    python = home / "bin" / f"python{options.series}"
    if (home / "complete").exists():
        return python
    cache.mkdir(parents=True, exist_ok=True)
    archive = fetch(options, cache)
    print(f"Building Python {options.version}, once: its output is in {cache / 'log'} ...", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    source = cache / "source"
    _unpack(archive, source)
    _add_msgspec(source, msgspec, options)
    _compile(source, home, options, tools, jobs)
    _merge(home / "lib" / f"libpython{options.series}.a", [*source.glob("Modules/**/lib*.a"), *libraries])
    print(_prove(python), flush=True)
    shutil.rmtree(source)
    (home / "complete").touch()
    return python


def _library(tools: Toolchain, name: str) -> Path:
    found = tools.library(name)
    if found is None:
        raise CannotBuildError(f"{name} is missing. Debian, Ubuntu: apt install {PACKAGES}")
    return found


def _key(options: CPython, msgspec: Path, tools: Toolchain, libraries: list[Path]) -> str:
    """Return a digest of all that the interpreter is made from."""
    digest = hashlib.sha256(repr((*astuple(options), tools.digest)).encode())
    digest.update(Path(__file__).read_bytes())
    for path in (*libraries, *sorted(msgspec.glob("*.[ch]"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _unpack(archive: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    # Checked by its hash; and tarfile's filters are newer than the Python of Debian 12.
    subprocess.run(["tar", "--strip-components=1", "-C", target, "-xf", archive], check=True)


def _add_msgspec(source: Path, msgspec: Path, options: CPython) -> None:
    modules = source / "Modules"
    (modules / "_msgspec").mkdir()
    for path in msgspec.glob("*.[ch]"):
        shutil.copy(path, modules / "_msgspec")
    (modules / "_msgspec_core.c").write_text(WRAPPER)
    table = modules / "config.c.in"
    text = table.read_text()
    if MARKER not in text:
        raise CannotBuildError(f"Modules/config.c.in of Python {options.version} is not as it was")
    table.write_text(text.replace(MARKER, MARKER + ENTRY))
    local = f"*static*\n_msgspec_core _msgspec_core.c\n*disabled*\n{' '.join(options.leave_out)}\n"
    (modules / "Setup.local").write_text(local)


def _compile(source: Path, home: Path, options: CPython, tools: Toolchain, jobs: int) -> None:
    environment = {
        **os.environ,
        **tools.environment,
        "MODULE_BUILDTYPE": "static",
        "PY_UNSUPPORTED_OPENSSL_BUILD": "static",
    }
    for name, library in LIBRARIES.items():
        environment[f"{name}_CFLAGS"] = " "
        # After zlib's, which end OpenSSL's as well: before glibc 2.34 these are libraries of their own.
        environment[f"{name}_LIBS"] = f"-l:{library} -lm -lpthread -ldl"
    choices = ["--disable-shared", "--without-ensurepip", "--disable-test-modules", "--without-readline"]
    if options.optimise:
        choices.append("--enable-optimizations")
    commands = (
        ["./configure", "-q", f"--prefix={home}", *choices],
        ["make", "-s", f"-j{jobs}"],
        ["make", "-s", "altinstall"],
    )
    with (source.parent / "log").open("wb") as log:
        for command in commands:
            try:
                subprocess.run(command, cwd=source, env=environment, check=True, stdout=log, stderr=log)
            except subprocess.CalledProcessError as error:
                raise CannotBuildError(f"{' '.join(command)} failed: see {log.name}") from error


def _merge(library: Path, others: list[Path]) -> None:
    """Put other static libraries into one, so that whoever links it needs none of them."""
    script = "\n".join([f"OPEN {library}", *(f"ADDLIB {other}" for other in others), "SAVE", "END", ""])
    subprocess.run(["ar", "-M"], input=script, text=True, check=True)
    # CPython installs it twice, and Nuitka prefers the one beside config.c.
    for copy in library.parent.glob("python*/config-*/libpython*.a"):
        copy.unlink()
        os.link(library, copy)


def _prove(python: Path) -> str:
    done = subprocess.run([python, "-I", "-c", PROOF], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuildError(f"the interpreter that was built is not whole: {done.stderr.strip()}")
    return f"Built {sys.platform} Python with {done.stdout.strip()}."
