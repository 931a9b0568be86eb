"""What works here but not on every Python that we promise to run on."""

from __future__ import annotations

import importlib
import pkgutil
import re

import muxi

sre = importlib.import_module("re._parser")


def patterns() -> list[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    found: list[tuple[str, re.Pattern[str] | re.Pattern[bytes]]] = []
    for module in pkgutil.walk_packages(muxi.__path__, "muxi."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                found.append((f"{module.name}.{name}", value))
    return found


def is_possessive(pattern: re.Pattern[str] | re.Pattern[bytes]) -> bool:
    tree = repr(sre.parse(pattern.pattern, pattern.flags & ~re.DEBUG))
    return "POSSESSIVE_REPEAT" in tree or "ATOMIC_GROUP" in tree


def test_no_pattern_is_possessive() -> None:
    """CPython before 3.11.5 gets them wrong when there are groups inside; Debian 12 has 3.11.2."""
    everything = patterns()
    assert len(everything) > 15
    assert [name for name, pattern in everything if is_possessive(pattern)] == []


def test_the_check_sees_them() -> None:
    assert is_possessive(re.compile(r"(a)*+b"))
    assert is_possessive(re.compile(rb"x(?>ab)"))
    assert not is_possessive(re.compile(r"a+\+"))
