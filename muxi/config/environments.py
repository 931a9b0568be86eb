"""The settings of Python environments; see `muxi.config.schema` for how settings are declared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from muxi.config.schema import Kind, boolean, choice, duration, key
from muxi.config.values import parse_text, shown

_URL: Final = re.compile(r"(?:https?|file)://[!-~]+")
ALLOWED_URL: Final = "a URL beginning with https://, http:// or file://"
ALLOWED_PLACE: Final = f"an absolute path, or {ALLOWED_URL}"


def _url(written: str) -> str:
    text = parse_text(written)
    if not _URL.fullmatch(text):
        raise ValueError(f"this is no such URL; allowed: {ALLOWED_URL}")  # it may hold a password
    return text


def _place(written: str) -> str:
    text = parse_text(written)
    if _URL.fullmatch(text):
        return text
    if not Path(text).is_absolute():
        raise ValueError(f"{shown(text)} is neither; allowed: {ALLOWED_PLACE}")
    return Path(text).as_uri()


def _words(written: str) -> list[str]:
    return [word for word in map(str.strip, written.split(",")) if word]


def _show_list(value: object) -> str:
    assert isinstance(value, tuple)
    return ", ".join(map(str, value))


URL: Kind[str] = Kind("URL", ALLOWED_URL, lambda written: _url(written) if written.strip() else "")
URLS: Kind[tuple[str, ...]] = Kind(
    "list of URLs",
    ALLOWED_URL,
    lambda written: tuple(map(_url, _words(written))),
    _show_list,
    listed=True,
)
PLACES: Kind[tuple[str, ...]] = Kind(
    "list of directories or pages",
    ALLOWED_PLACE,
    lambda written: tuple(map(_place, _words(written))),
    _show_list,
    listed=True,
)


@dataclass(frozen=True, slots=True)
class EnvironmentsConfig:
    installer: str = key(
        "auto", choice("auto", "uv", "pip"), "What makes them; `auto`: uv where it is present, else pip."
    )
    index_url: str = key("", URL, "The package index; empty: the one that the installer knows.", secret=True)
    extra_index_urls: tuple[str, ...] = key((), URLS, "More indexes beside it.", secret=True)
    find_links: tuple[str, ...] = key(
        (), PLACES, "Where more packages lie: directories of wheels, or pages of links to them.", secret=True
    )
    no_index: bool = key(False, boolean(), "Whether no index is asked, and `find_links` is all there is.")
    require_hashes: bool = key(
        False, boolean(), "Whether requirements without the hash of every file are refused."
    )
    timeout: float = key(1800.0, duration(1, 86400), "How long making one may take.")
