"""What the build knows of itself. The build of a binary (`build/stage.py`) writes this file anew."""

from __future__ import annotations

GIT_COMMIT = "unknown"
BUILD_TIME = "unknown"
#: The versions of Python and OpenSSL that are inside; "" where none are: those of the machine are used.
PYTHON = ""
OPENSSL = ""
