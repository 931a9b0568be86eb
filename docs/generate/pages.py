"""The pages that are made in part: between two marks, from what the program itself says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from docs.generate.api import api
from docs.generate.commands import commands
from docs.generate.configuration import configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

DOCS: Final = Path(__file__).resolve().parent.parent
BEGIN: Final = "<!-- made by `make docs`; what stands below is overwritten -->"
END: Final = "<!-- the end of what is made -->"

PAGES: Final[Mapping[str, Callable[[], Iterable[str]]]] = {
    "configuration.md": configuration,
    "cli.md": commands,
    "api.md": api,
}


def renewed(page: str, made: Iterable[str]) -> str:
    """Return a page with what stands between its marks made anew. Pure. Raises ValueError without marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page lacks one of its two marks")
    lines = "\n".join(made)
    return f"{before}{BEGIN}\n{lines}\n\n{END}{after}"
