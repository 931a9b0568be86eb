"""What the tests run as the server: this checkout, or the binary that MUXI_BINARY names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

#: The path of a built binary; "" for the checkout.
BINARY = os.environ.get("MUXI_BINARY", "")
#: For tests that put code of theirs into the server's process.
needs_source = pytest.mark.skipif(bool(BINARY), reason="a binary lets no code of the test's into it")
needs_binary = pytest.mark.skipif(not BINARY, reason="this looks at a binary (make test-binary)")


def muxi_command(*arguments: str) -> list[str]:
    """Return the command line of `muxi-server` with these arguments."""
    program = [str(Path(BINARY).absolute())] if BINARY else [sys.executable, "-m", "muxi"]
    return [*program, *arguments]
