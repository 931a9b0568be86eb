"""Tools of the system that only take down how they are called, and answer as they are told."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass
class Tools:
    """`answers` by the whole command line: what is printed, or a status and what is complained of."""

    answers: Mapping[str, str | tuple[int, str]]
    ran: list[str] = field(default_factory=list)

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        line = " ".join(command)
        self.ran.append(line)
        answer = self.answers.get(line, "")
        if isinstance(answer, str):
            return subprocess.CompletedProcess(list(command), 0, answer, "")
        return subprocess.CompletedProcess(list(command), answer[0], "", answer[1])
