"""What the tests of faults have in common with those of the whole server."""

from __future__ import annotations

from tests.integration.conftest import marker

__all__ = ["marker"]
