"""The server: its composition, its life as a process, and what signals make of it."""

from __future__ import annotations

from muxi.server.check import check
from muxi.server.running import run

__all__ = ["check", "run"]
