"""The word MUXI in block letters, in the colours of the house on terminals that show them."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

LINES = (
    ("███╗   ███╗██╗   ██╗██╗  ██╗██╗", (217, 170, 84)),
    ("████╗ ████║██║   ██║╚██╗██╔╝██║", (218, 158, 75)),
    ("██╔████╔██║██║   ██║ ╚███╔╝ ██║", (219, 150, 71)),
    ("██║╚██╔╝██║██║   ██║ ██╔██╗ ██║", (220, 143, 66)),
    ("██║ ╚═╝ ██║╚██████╔╝██╔╝ ██╗██║", (216, 137, 62)),
    ("╚═╝     ╚═╝ ╚═════╝ ╚═╝  ╚═╝╚═╝", (191, 120, 64)),
)
RESET = "\x1b[0m"
DOCS = "https://muxi.org/docs"
SUPPORT = "https://muxi.org/support"
ARCHITECTURES = {"amd64": "x86_64", "aarch64": "arm64", "386": "i386", "i686": "i386"}


def banner(*, colour: bool) -> str:
    """Return the six lines; with `colour`, each in its 24-bit colour (ISO 8613-6)."""
    if not colour:
        return "\n".join(line for line, _ in LINES)
    return "\n".join(f"\x1b[38;2;{r};{g};{b}m{line}" for line, (r, g, b) in LINES) + RESET


def welcome(version: str, machine: str) -> str:
    """Return what `init` says first: version, licence, architecture, and where help is."""
    architecture = ARCHITECTURES.get(machine.lower(), machine.lower())
    return (
        f"Welcome to MUXI Server {version} (ELv2, {architecture})\n"
        f"  Documentation: {DOCS}\n"
        f"  Support:       {SUPPORT}"
    )


def shows_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether to colour what goes to a stream: terminals only, unless NO_COLOR is set."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def print_banner(stream: TextIO) -> None:
    print(banner(colour=shows_colour(stream, os.environ)), end="\n\n", file=stream)


def print_welcome(stream: TextIO, version: str) -> None:
    print_banner(stream)
    print(welcome(version, platform.machine()), end="\n\n", file=stream)
