"""The form of install.ps1. There is no PowerShell to run it with here: what it does is not tried."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.install.script import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = (ROOT / "install" / "install.ps1").read_text("utf-8")
#: Of Windows PowerShell 5.1 (Microsoft.PowerShell.Core, .Utility, .Management).
CMDLETS = {
    "Copy-Item",
    "ForEach-Object",
    "Get-Content",
    "Get-FileHash",
    "Get-Help",
    "Invoke-WebRequest",
    "Join-Path",
    "Move-Item",
    "New-Item",
    "Out-Null",
    "Read-Host",
    "Remove-Item",
    "Select-Object",
    "Set-StrictMode",
    "Test-Path",
    "Where-Object",
    "Write-Output",
}
PAIRS = {")": "(", "]": "[", "}": "{"}


def code() -> Iterator[str]:
    """Its lines without comments and without what is in quotes, but for what is put into those."""
    text = re.sub(r"<#.*?#>", "", TEXT, flags=re.DOTALL)
    for line in text.splitlines():
        bare = re.sub(r'"(?:[^"$`]|`.|\$)*"', lambda found: " ".join(re.findall(r"\$[\w:]+", found[0])), line)
        yield re.sub(r"#.*", "", bare)


def test_what_is_called_is_there() -> None:
    """What the original's installer was not: it called a function that it did not have."""
    called = set(re.findall(r"(?<![\w$.-])[A-Z][a-zA-Z]+-[A-Z][a-zA-Z]+", "\n".join(code())))
    defined = set(re.findall(r"^function ([A-Z]\w+-\w+)", TEXT, re.MULTILINE))
    assert called - defined - CMDLETS == set()
    assert defined - {name for name in defined if TEXT.count(name) > 1} == set()


def test_each_function_has_a_verb_that_powershell_knows() -> None:
    verbs = {name.partition("-")[0] for name in re.findall(r"^function (\S+?)[ (]", TEXT, re.MULTILINE)}
    assert verbs <= {"Stop", "Get", "Save", "Assert", "Move", "Add", "Install"}


def test_brackets_are_closed_in_order() -> None:
    stack: list[str] = []
    for number, line in enumerate(code(), 1):
        for character in line:
            if character in PAIRS.values():
                stack.append(character)
            elif character in PAIRS:
                assert stack, f"line {number}: {line}"
                assert stack.pop() == PAIRS[character], f"line {number}: {line}"
    assert stack == []


def test_variables_are_set_before_they_are_read() -> None:
    """Of each function: its parameters, what it sets, and what PowerShell itself has."""
    known = {"_", "Matches", "PSCommandPath", "true", "false"}
    top, *functions = re.split(r"^function ", "\n".join(code()), flags=re.MULTILINE)
    last, _, main = functions[-1].partition("\n}\n")
    scripts = [*functions[:-1], last, f"{top}\n{main}"]
    for script in scripts:
        body = re.sub(r"\$(?:env|global):\w+", "", script)
        given = set(re.findall(r"\[(?:string|switch|bool)\] \$(\w+)", body))
        given |= set(re.findall(r"\$(\w+) \+?= ", body))
        assert set(re.findall(r"\$\{?(\w+)", body)) - given - known == set(), script[:40]


def test_it_changes_nothing_of_who_runs_it_by_iex() -> None:
    """Settings are a function's own, and only a run of the file ends the process."""
    body = TEXT.partition("function Install-MuxiServer")[0] + TEXT.partition("\nif ($Help)")[2]
    assert "$ErrorActionPreference =" not in body
    assert "Set-StrictMode" not in body
    exits = [line.strip() for line in TEXT.splitlines() if re.search(r"\bexit\b", line)]
    assert len(exits) == 1
    assert exits[0].startswith("if ($PSCommandPath) { exit 1 }")


def test_nothing_is_sent_to_anybody() -> None:
    assert TEXT.count("Invoke-WebRequest") == 1
    assert not re.search(r"-Method|-Body|Invoke-RestMethod|telemetry|WebClient", TEXT)


@pytest.mark.parametrize("option", ["Version", "From", "NonInteractive", "DryRun", "Help"])
def test_the_options_are_those_of_install_sh(option: str) -> None:
    assert re.search(rf"^    \[\w+\] \${option}\b", TEXT, re.MULTILINE)


def test_what_5_1_does_not_know_is_not_in_it() -> None:
    """Operators of PowerShell 7, and letters: 5.1 reads a file without a mark in the system's code page."""
    assert not re.search(r"\?\?|\?\.|&& |\|\| | \? .* : ", "\n".join(code()))
    assert TEXT.isascii()
