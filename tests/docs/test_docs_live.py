"""The pages' commands for a server that runs, each page's in their order, against one for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import of_stage
from tests.docs.stages import play

if TYPE_CHECKING:
    from tests.docs.stages import Stage

PAGES = of_stage("live")


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_do_what_it_says(page: str, live: Stage) -> None:
    play(live, PAGES[page])
