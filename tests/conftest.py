from __future__ import annotations

import os
import signal
import sys

import structlog
from hypothesis import settings

# No test measures time, so neither does a property.
settings.register_profile("no-clock", deadline=None)
settings.load_profile("no-clock")

# What a test finds here does not depend on whether this machine has a container engine.
os.environ["DOCKER_HOST"] = "unix:///nowhere/engine.sock"


def _in_the_cache(fd: int) -> None:
    """Stand in for fsync: no test pulls the plug. Servers under test, in processes of their own, do sync."""
    os.fstat(fd)  # so one that is closed is still an error


os.fsync = _in_the_cache  # type: ignore[assignment]

# Hundreds of servers are started: each would compile all of its modules anew, which doubles what it costs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No test, and no program that one starts, sends anything to anybody outside.
os.environ["DO_NOT_TRACK"] = "1"

# The default's coloured tracebacks of nested groups take seconds each, on the event loop.
structlog.configure(
    processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()]
)

# A shell that runs the tests in the background has SIGINT ignored, and every process they start would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
