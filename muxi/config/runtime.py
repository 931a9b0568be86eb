"""The settings of what formations run on; see `muxi.config.model` for how settings are declared."""

from __future__ import annotations

from dataclasses import dataclass

from muxi.config.schema import boolean, choice, integer, key, text, url


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    preferred: str = key(
        "auto",
        choice("auto", "apptainer", "muxi-python", "docker"),
        "What MUXI formations run on; `auto`: the first of these that is present.",
    )
    sif_base_url: str = key(
        "https://pkg.muxi.org/runtime", url(), "Where images of the runtime come from; a mirror of your own."
    )
    runtime_runner_image: str = key(
        "ghcr.io/muxi-ai/runtime-runner:latest", text(), "The image that runs them in Docker.", pending=True
    )
    auto_download: bool = key(True, boolean(), "Whether a missing runtime is downloaded.")
    version: str = key("", text(), "The runtime version used when a formation names none.")


@dataclass(frozen=True, slots=True)
class RceConfig:
    port: int = key(7891, integer(1, 65535), "The private port of the code runner.", zero=7891, pending=True)
    auth_token: str = key("", text(), "The token of the code runner.", secret=True, pending=True)
    data_dir: str = key("", text(), "Where the code runner keeps its files.", pending=True)
