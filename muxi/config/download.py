"""The settings of downloads: how long they wait, how often they try again, where things come from."""

from __future__ import annotations

from dataclasses import dataclass

from muxi.config.schema import duration, integer, key, url

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class DownloadConfig:
    connect_timeout: float = key(30.0, duration(0.1, HOUR), "How long a connection for a download may take.")
    first_byte_timeout: float = key(
        30.0, duration(0.1, HOUR), "How long a server may take to begin its answer once it is connected to."
    )
    stall_timeout: float = key(
        60.0, duration(0.1, HOUR), "How long nothing may come before a download is taken up anew."
    )
    retries: int = key(
        5, integer(0, 100), "How often in a row a download is tried again before it counts as failed."
    )
    models_url: str = key("https://huggingface.co", url(), "Where embedding models come from.")
    rce_url: str = key(
        "https://github.com/muxi-ai/skills-rce/releases", url(), "Where the code runner's images come from."
    )
