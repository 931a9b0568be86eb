"""Every command in the pages: run where it can be, else held to what the programs it names take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import Block, Mark, all_blocks, blocks, of_stage, shell_blocks
from tests.docs.checkers import CHECKERS, PLAIN, Wrong, check
from tests.docs.stages import fresh, play

if TYPE_CHECKING:
    from pathlib import Path

#: What is no command, and what looks at it.
OTHERS = {
    "": "test_no_block_escapes",
    "caddyfile": "test_docs_proxies",
    "ini": "test_docs_texts",
    "json": "test_docs_texts",
    "logrotate": "test_docs_texts",
    "mermaid": "its reader",
    "nginx": "test_docs_proxies",
    "powershell": "its reader",
    "text": "its reader",
    "yaml": "test_docs_texts",
}
#: What runs the blocks of a stage.
STAGES = {
    "live": "test_docs_live",
    "fresh": "test_docs_fresh",
    "original": "test_docs_original",
    "back": "test_docs_original",
    "backup": "test_docs_backup",
    "restore": "test_docs_backup",
}
OUR_PROGRAMS = set(CHECKERS) - PLAIN
BLOCKS = shell_blocks()
CHECKED = [block for block in BLOCKS if block.mark is None]


@pytest.mark.parametrize("block", CHECKED, ids=str)
def test_a_command_that_is_not_run_could_be(block: Block) -> None:
    check(block.text.replace("\\", "/") if block.language == "powershell" else block.text)


def test_no_block_escapes() -> None:
    unknown = [str(block) for block in all_blocks() if block not in BLOCKS and block.language not in OTHERS]
    assert unknown == [], "say of what language these are; commands are sh"
    hidden = [
        str(block)
        for block in all_blocks()
        if not block.language and any(line.split(" ")[0] in OUR_PROGRAMS for line in block.text.splitlines())
    ]
    assert hidden == [], "these are commands; say so: sh"
    run = [block for block in BLOCKS if block.mark is not None]
    assert {block.mark.stage for block in run if block.mark} <= set(STAGES)
    assert all(block.language == "sh" for block in run), "they are run by sh"


def test_what_is_promised_is_run() -> None:
    run = {*of_stage("live"), *of_stage("fresh"), *of_stage("original")}
    wanted = {page for page in {block.page for block in BLOCKS} if page.startswith("docs/")}
    assert {"README.md", "docs/api.md", "docs/cli.md", "docs/quick-start.md", *wanted} <= run


def test_a_block_is_found_with_its_mark() -> None:
    page = "text\n\n<!-- run: live, exit 22 -->\n```sh\nfalse\n```\n\n- item:\n\n  ```yaml\n  a: 1\n  ```\n"
    first, second = blocks("p.md", page)
    assert first == Block("p.md", 4, "sh", "false", Mark("live", 22))
    assert (second.language, second.text, second.mark) == ("yaml", "a: 1", None)


@pytest.mark.parametrize("page", ["```sh\nfalse\n", "<!-- run live -->\n```sh\nfalse\n```\n"])
def test_a_page_that_can_not_be_read_is_wrong(page: str) -> None:
    with pytest.raises((ValueError, AssertionError)):
        list(blocks("p.md", page))


def test_a_page_whose_command_fails_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"p\.md:7 ended with 3"):
        play(
            fresh(tmp_path),
            [Block("p.md", 3, "sh", "true", Mark("fresh")), Block("p.md", 7, "sh", "exit 3", Mark("fresh"))],
        )


@pytest.mark.parametrize(
    "text",
    [
        "muxi-server formation lst",
        "muxi-server formation logs hello --lines many",
        "muxi-server formation deploy a b",
        "muxi-server formation get",
        "muxi-server formation list --jsn",
        "muxi-server formation update --strategy fast",
        "make tea",
        "systemctl restart nginx",
        "sudo -u muxi muxi-server statsu",
        "muxi-server status && make tea",
        "unheard-of --option",
        "docker run nginx",
        "python -m build.nothing",
        ".venv/Scripts/python -m muxi unheard-of",
        "python -m pytest tests/nowhere.py",
        "python -m build.release unheard",
        "curl -fsSL https://example.com/install | sh",
        "sh install.sh --unheard-of",
        "pip install something-else",
        "# nothing",
    ],
)
def test_a_wrong_command_is_found(text: str) -> None:
    with pytest.raises(Wrong):
        check(text)


@pytest.mark.parametrize(
    "text",
    [
        "muxi-server formation deploy path/to/your/agent   # and a comment",
        "MUXI_PORT=1 muxi-server start --port 8080 > log",
        "muxi-server",
        "sudo systemctl restart muxi-server",
        "make test ARGS='-k init'",
        "py -3.13 -m venv .venv",
        ".venv/Scripts/python -m muxi init --yes",
    ],
)
def test_a_right_command_is_passed(text: str) -> None:
    check(text)
