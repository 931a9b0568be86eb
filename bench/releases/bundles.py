"""The bundles that are deployed: one of many files, and small ones that differ."""

from __future__ import annotations

import io
import json
import random
import sys
import tarfile
from pathlib import Path

SERVICE = Path(__file__).with_name("service.py").read_bytes()


def manifest(formation_id: str, release: str) -> dict[str, object]:
    return {
        "id": formation_id,
        "name": formation_id,
        "version": "1.0.0",
        "command": [sys.executable, "service.py"],
        "env": {"RELEASE": release},
    }


def small(formation_id: str, release: str) -> bytes:
    """Pack the service alone."""
    return packed({"formation.afs": _encoded(formation_id, release), "service.py": SERVICE})


def large(formation_id: str, files: int, size: int) -> bytes:
    """Pack the service with `files` files of together `size` bytes, as good as incompressible."""
    source = random.Random(files)
    each = size // files
    rest = {f"data/{number // 100}/{number}.bin": source.randbytes(each) for number in range(files)}
    return packed({"formation.afs": _encoded(formation_id, "large"), "service.py": SERVICE, **rest})


def packed(members: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz", compresslevel=1) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return whole.getvalue()


def _encoded(formation_id: str, release: str) -> bytes:
    return json.dumps(manifest(formation_id, release)).encode()
