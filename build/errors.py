"""Why a binary can't be built."""

from __future__ import annotations


class CannotBuildError(Exception):
    """The binary can't be built so; the message is for whoever builds, and says why."""
