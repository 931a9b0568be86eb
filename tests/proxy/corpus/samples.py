"""gunicorn's collection of requests, fetched once a version with a checked hash, and decoded.

A file holds one request, or several in a row. In it line ends mean nothing, and what is sent is
written out: `\\r\\n`, `\\n`, `\\t`, `\\0`, `\\x7f`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.live import ROOT

LOCK = Path(__file__).with_name("gunicorn.lock")
CACHE = ROOT / ".cache" / "corpus"
DOWNLOAD = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "download")

_PIN = re.compile(r"^gunicorn==(\S+) ", re.MULTILINE)
_MEMBER = re.compile(r"[^/]+/tests/requests/(valid|invalid)/([\w-]+)\.http")
_ESCAPE = re.compile(rb"\\([rnt0]|x[0-9A-Fa-f]{2})|\n")
_PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}

#: The start of a request whose target has a path: method and, in absolute form, scheme and authority.
_BEFORE_PATH = re.compile(rb"(?:PROXY [^\r\n]*\r\n)?(?:\r\n)*[^\s/]+ (?:https?://[^\s/?#]+)?(?=/)")
_FIRST_LINE = re.compile(rb"\A(?:\r\n)*[^\r\n]* HTTP/1\.1\r\n")
_HAS_HOST = re.compile(rb"\r\nhost[ \t]*:", re.IGNORECASE)


class Sample(NamedTuple):
    """A request as gunicorn's tests send it, and whether they want it refused."""

    name: str
    valid: bool
    data: bytes

    def below(self, prefix: bytes) -> bytes | None:
        """The first request with `prefix` before its path; None where there is no path."""
        match = _BEFORE_PATH.match(self.data)
        return match and self.data[: match.end()] + prefix + self.data[match.end() :]


def with_host(data: bytes) -> bytes:
    """Add the Host that HTTP/1.1 asks for where it is missing: else that alone is a reason to refuse."""
    first = _FIRST_LINE.match(data)
    if first is None or _HAS_HOST.search(data.lstrip(b"\r\n").partition(b"\r\n\r\n")[0]):
        return data
    return data[: first.end()] + b"Host: added.example\r\n" + data[first.end() :]


def load_samples() -> list[Sample]:
    """Read the collection, after fetching it where it is missing."""
    samples = []
    with tarfile.open(_archive()) as archive:
        for member in archive:
            match = _MEMBER.fullmatch(member.name)
            if match is not None:
                file = archive.extractfile(member)
                assert file is not None
                samples.append(Sample(match[2], match[1] == "valid", decode(file.read())))
    return sorted(samples)


def decode(text: bytes) -> bytes:
    """Give the bytes that a file's text stands for."""
    return _ESCAPE.sub(_decoded, text)


def _decoded(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    if escape is None:
        return b""
    return bytes.fromhex(escape[1:].decode()) if len(escape) == 3 else _PLAIN[escape]


def _archive() -> Path:
    pin = _PIN.search(LOCK.read_text())
    assert pin is not None
    archive = CACHE / f"gunicorn-{pin[1]}.tar.gz"
    if not archive.exists():
        _fetch(archive)
    return archive


def _fetch(archive: Path) -> None:
    """Download under another name and rename, so that what is there is whole, and of the right hash."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        source = ("--no-deps", "--no-binary", "gunicorn", "--require-hashes", "-r", str(LOCK))
        command = (sys.executable, *DOWNLOAD, *source, "--dest", directory)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        (Path(directory) / archive.name).replace(archive)
