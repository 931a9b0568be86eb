from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from muxi.errors import OperatorError
from muxi.registry.lock import exclusive

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_holder_is_refused_by_name_until_the_first_lets_go(tmp_path: Path) -> None:
    refused = pytest.raises(OperatorError, match=f"pid {os.getpid()}")
    with exclusive(tmp_path), refused, exclusive(tmp_path):
        pytest.fail("two holders")
    with exclusive(tmp_path):
        pass


def test_a_child_does_not_keep_the_lock_of_a_parent_that_is_gone(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with exclusive(tmp_path):
            pass
    finally:
        child.communicate(b"\n")
