"""The real SDK signs as the published vectors say (contributing/auth.md)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

VECTORS = Path(__file__).parents[2] / "contributing" / "auth-vectors.json"
#: Run by the SDK's interpreter: its clock stands still, and it signs what it is given.
SIGN = """
import json, sys, time
from muxi.auth import build_auth_header
for time_, *arguments in json.load(sys.stdin):
    time.time = lambda: time_ + 0.5
    print(build_auth_header(*arguments))
"""


def test_it_makes_the_same_headers(python: Path) -> None:
    vectors = json.loads(VECTORS.read_text("utf-8"))
    secrets = {key["id"]: key["secret"] for key in vectors["keys"]}
    # It signs the path as it is given, and never a method in small letters.
    rows = [
        row
        for row in vectors["signatures"]
        if row["message"].endswith(f";{row['method']};{row['target'].partition('?')[0]}")
    ]
    assert len(rows) >= 9
    asked = [
        [int(row["timestamp"]), row["key"], secrets[row["key"]], row["method"], row["target"]] for row in rows
    ]
    done = subprocess.run(
        [python, "-P", "-c", SIGN], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [row["authorization"] for row in rows]
