"""The settings of `/metrics`; see `muxi.config.model` for how settings are declared."""

from __future__ import annotations

from dataclasses import dataclass

from muxi.config.schema import boolean, key, text


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    enabled: bool = key(
        False,
        boolean(),
        "Whether `/metrics` is there: it tells whoever reaches the port which formations exist.",
    )
    token: str = key("", text(), "What a scraper must show, as a bearer token; empty: nothing.", secret=True)
