"""Whether anything may be sent at all: asked before each report, and before any file is written.

    MUXI_TELEMETRY=0                     for this server
    DO_NOT_TRACK=1                       for every program (consoledonottrack.com)
    telemetry: false                     in ~/.muxi/config.yaml, or in the server's config.yaml

Any one of them is enough. What can't be read counts as a no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from muxi.telemetry.preferences import Preferences

NO: Final = frozenset({"0", "false", "no", "off"})


def objection(
    environment: Mapping[str, str], configured: bool, preferences: Preferences, file: Path
) -> str | None:
    """Say why nothing may be sent; None when something may. `configured` is the server's own setting."""
    if environment.get("MUXI_TELEMETRY", "").strip().lower() in NO:
        return "MUXI_TELEMETRY is 0 in the server's environment"
    if do_not_track(environment):
        return "DO_NOT_TRACK is set in the server's environment"
    if not configured:
        return "telemetry is false in the server's configuration"
    if preferences.telemetry is False:
        return f"telemetry is false in {file}"
    return preferences.problem


def do_not_track(environment: Mapping[str, str]) -> bool:
    """Tell whether nothing may be asked of the makers that is not needed; any value but a no says so."""
    return environment.get("DO_NOT_TRACK", "").strip().lower() not in NO | {""}
