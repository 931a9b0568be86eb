"""What the build knows of itself. A release build writes this file anew."""

from __future__ import annotations

GIT_COMMIT = "unknown"
BUILD_TIME = "unknown"
