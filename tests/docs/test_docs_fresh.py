"""The pages' commands for one who begins: from an empty home to an agent that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import of_stage
from tests.docs.stages import fresh, play

if TYPE_CHECKING:
    from pathlib import Path

PAGES = of_stage("fresh")


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_lead_from_nothing_to_what_it_promises(page: str, tmp_path: Path) -> None:
    printed = play(fresh(tmp_path), PAGES[page])
    if page == "docs/quick-start.md":
        words = [line.removeprefix("data: ") for line in printed.splitlines() if line.startswith("data: ")]
        assert words == ["Hello", "from", "an", "agent"]
