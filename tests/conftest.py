from __future__ import annotations

import structlog
from hypothesis import settings

# No test measures time, so neither does a property.
settings.register_profile("no-clock", deadline=None)
settings.load_profile("no-clock")

# The default's coloured tracebacks of nested groups take seconds each, on the event loop.
structlog.configure(
    processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()]
)
