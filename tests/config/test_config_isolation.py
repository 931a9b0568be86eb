from __future__ import annotations

import pytest

from muxi.config.isolation import PATHS


def test_paths_are_a_list_or_a_text_with_commas() -> None:
    assert PATHS.parse("/models, /srv/data,") == ("/models", "/srv/data")
    assert PATHS.parse("") == ()
    assert PATHS.show(("/models", "/srv/data")) == "/models, /srv/data"


@pytest.mark.parametrize("written", ["models", "/a, b", "/a/../etc", "/", "//", "/models, /"])
def test_what_is_no_part_of_the_machine_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"'.+'"):
        PATHS.parse(written)
