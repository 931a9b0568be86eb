from __future__ import annotations

from hypothesis import settings

# No test measures time, so neither does a property.
settings.register_profile("no-clock", deadline=None)
settings.load_profile("no-clock")
