"""The licences that go with the binary: of every package that is in it, whole."""

from __future__ import annotations

import pytest

from build.notices import RULE, document, texts
from build.sbom import ROOT, packages

INSIDE = packages((ROOT / "requirements" / "run.lock").read_text("utf-8"))


@pytest.mark.parametrize("name", [name for name, _ in INSIDE])
def test_every_package_that_is_inside_has_a_licence_to_pass_on(name: str) -> None:
    assert max(len(text) for text in texts(name)) > 500


def test_texts_that_others_refer_to_are_among_them() -> None:
    everything = "\n".join(text for name, _ in INSIDE for text in texts(name))
    assert "Apache License" in everything
    assert "Version 2.0, January 2004" in everything
    assert "Permission is hereby granted, free of charge" in everything


def test_each_stands_below_its_name() -> None:
    text = document("Python's\n", {"trio 1.0": ["either", "or"], "h11 2.0": ["MIT"]})
    assert f"{RULE}\nPython\n{RULE}\n\n\nPython's\n" in text
    assert f"{RULE}\ntrio 1.0\n{RULE}\n\n\neither\n\nor\n" in text
    assert text.endswith("MIT\n")


def test_a_package_that_is_not_here_is_told() -> None:
    with pytest.raises(LookupError, match="no-such-package is not installed"):
        texts("no-such-package")
