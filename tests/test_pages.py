"""The pages of this repository: every link leads somewhere, and every page is led to."""

from __future__ import annotations

import os
import re
from collections import deque
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
#: Where a reader begins.
ENTRANCES = ("README.md", "AGENTS.md")
#: Not pages to be led to: they are read one by one, and used up.
LOOSE = ("newsfragments/",)
STAGE = re.compile(r'progress\(\s*"([a-z_]+)"|\bSTAGE(?:: Final)? = "([a-z_]+)"|stage="(pulling_\w+)"')


def pages() -> list[str]:
    found: list[str] = []
    for directory, names, files in os.walk(ROOT):
        names[:] = [name for name in names if not name.startswith(".")]
        found += [str(Path(directory, file).relative_to(ROOT)) for file in files if file.endswith(".md")]
    return sorted(found)


PAGES = pages()


@cache
def prose(page: str) -> str:
    """A page without its examples."""
    text = (ROOT / page).read_text("utf-8")
    return re.sub(r"^( *)(```|~~~).*?^\1\2", "", text, flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(page: str) -> frozenset[str]:
    """The names of its headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.append(name if name not in found else f"{name}-{found.count(name)}")
    return frozenset(found) | frozenset(re.findall(r'<a (?:id|name)="([^"]+)"', prose(page)))


def links(page: str) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    inline = re.findall(r"\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)", text)
    return inline + re.findall(r"^\[[^\]]+\]:\s+(\S+)", text, re.MULTILINE)


def target(page: str, link: str) -> tuple[Path, str]:
    path, _, anchor = link.partition("#")
    return ((ROOT / page).parent / unquote(path) if path else ROOT / page).resolve(), unquote(anchor)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    wrong: list[str] = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, anchor = target(page, link)
        if not path.exists() or not path.is_relative_to(ROOT):
            wrong.append(f"{link}: there is no such file")
        elif anchor and path.suffix == ".md" and anchor not in anchors(str(path.relative_to(ROOT))):
            wrong.append(f"{link}: there is no such heading")
    assert wrong == []


def test_every_page_is_led_to() -> None:
    found = set(ENTRANCES)
    waiting = deque(ENTRANCES)
    while waiting:
        page = waiting.popleft()
        for link in links(page):
            path = target(page, link)[0]
            path = path / "README.md" if path.is_dir() else path
            name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""
            if name in PAGES and name not in found:
                found.add(name)
                waiting.append(name)
    assert [page for page in PAGES if page not in found and not page.startswith(LOOSE)] == []


def test_what_the_check_sees() -> None:
    assert "mental-model.md" in PAGES
    assert "a-change" in anchors("contributing/README.md")
    assert "architecture.md" in links("contributing/README.md")
    assert sum(len(links(page)) for page in PAGES) > 100


def test_the_stages_that_clients_are_told_of_are_listed() -> None:
    found: set[str] = set()
    for path in (ROOT / "muxi").rglob("*.py"):
        found |= {name for names in STAGE.findall(path.read_text("utf-8")) for name in names if name}
    assert len(found) > 12
    page = (ROOT / "contributing" / "cli-protocol.md").read_text("utf-8")
    listed = page.partition("`stage` is one of")[2].partition("A client shows")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == found


def test_every_fragment_of_the_changelog_is_named_as_the_release_wants_it() -> None:
    names = [path.name for path in (ROOT / "newsfragments").glob("*.md") if path.name != "README.md"]
    kinds = "added|changed|deprecated|removed|fixed|security"
    assert [name for name in names if not re.fullmatch(rf"[\w-]+(\.[\w-]+)*\.({kinds})\.md", name)] == []
