"""The settings of what formations run on; see `muxi.config.model` for how settings are declared."""

# ruff: noqa: RUF009 - `key` and `group` give dataclass fields; their values are immutable

from __future__ import annotations

import shlex
from dataclasses import dataclass

from muxi.config.engine import EngineConfig
from muxi.config.schema import Kind, boolean, choice, group, integer, key, text, url


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
        "ghcr.io/muxi-ai/runtime-runner:latest", text(), "The image that runs them in Docker."
    )
    auto_download: bool = key(True, boolean(), "Whether a missing runtime is downloaded.")
    offline: bool = key(
        False, boolean(), "Whether MUXI formations ask no model hub, and use the models that are cached here."
    )
    version: str = key("", text(), "The runtime version used when a formation names none.")
    host_tools: bool = key(
        True,
        boolean(),
        "Whether formations in Apptainer may use programs of this machine (node, git, ffmpeg).",
    )
    engine: EngineConfig = group(EngineConfig, "The container engine.")


def _words(written: str) -> tuple[str, ...]:
    return tuple(shlex.split(text().parse(written)))


def _show_words(value: object) -> str:
    return shlex.join(value) if isinstance(value, tuple) else ""


COMMAND: Kind[tuple[str, ...]] = Kind(
    "command", "a program and its arguments, quoted as for a shell", _words, _show_words
)


@dataclass(frozen=True, slots=True)
class RceConfig:
    port: int = key(
        7891,
        integer(1, 65535),
        "The private port of the code runner; the next free one when somebody else has it.",
        zero=7891,
    )
    auth_token: str = key(
        "", text(), "What formations show to the code runner; without one it is not started.", secret=True
    )
    data_dir: str = key(
        "",
        text(),
        "The directory whose `rce` holds the code runner's files; empty: the data directory.",
        fixed=True,
    )
    command: tuple[str, ...] = key(
        (), COMMAND, "A program of this machine to run as the code runner; empty: an image is run."
    )
    image: str = key(
        "ghcr.io/muxi-ai/skills-rce:latest",
        text(),
        "The image that is run in a container where there is no image file.",
    )
