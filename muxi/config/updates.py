"""The settings of what is asked about newer releases; `muxi.config.model` says how settings are declared."""

from __future__ import annotations

from dataclasses import dataclass

from muxi.config.schema import boolean, key, text, url


@dataclass(frozen=True, slots=True)
class UpdatesConfig:
    sdk_notices: bool = key(
        True, boolean(), "Whether SDKs are told of their newest release, which is looked up once a day."
    )
    sdk_version_url: str = key(
        "https://raw.githubusercontent.com/muxi-ai/muxi-{sdk}/main/.version",
        text(),
        "Where the newest release of an SDK stands; `{sdk}` is its name.",
    )
    server_releases_url: str = key(
        "https://github.com/muxi-ai/server/releases",
        url(),
        "Where `upgrade` finds the newest release: what `…/latest` leads to.",
    )
    server_download_url: str = key(
        "https://pkg.muxi.org/server",
        url(),
        "Where it gets the program and its checksums; a mirror of your own.",
    )
