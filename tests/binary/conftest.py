"""What looks at a built binary; skipped where MUXI_BINARY names none."""

from __future__ import annotations

from tests.integration.conftest import marker

__all__ = ["marker"]
