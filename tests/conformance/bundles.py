"""Bundles that the conformance tests deploy."""

from __future__ import annotations

from pathlib import Path

from tests.live import bundle

AGENT = Path(__file__).with_name("agent.py")
CRASHES = "import sys\nprint('no model key found', flush=True)\nsys.exit(3)\n"


def agent_bundle(formation_id: str, version: str = "1.0.0") -> bytes:
    """A formation that answers what a FormationClient asks."""
    return bundle(formation_id, {"app.py": AGENT.read_bytes()}, version=version)


def crashing_bundle(formation_id: str) -> bytes:
    """A formation that says why it can't run, and ends with status 3."""
    return bundle(formation_id, {"app.py": CRASHES})
