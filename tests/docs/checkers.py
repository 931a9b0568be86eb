"""Checks of commands that can't be run here: each program that the pages name has one. Raises Wrong.

A program without a checker is wrong, too: so no command of the pages escapes.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

import click

from muxi.cli.arguments import prepare
from muxi.cli.root import PROGRAM, root
from tests.live import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

UNIT: Final = {"muxi-server", "muxi-server.service", "muxi-server.socket"}
#: Programs of every system, by which nothing of ours is called; a page that runs them is run.
PLAIN: Final = frozenset(
    {"base64", "cat", "cd", "cp", "export", "install", "ls", "mkdir", "mv", "openssl", "printf", "rm", "tar"}
)
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_SEPARATORS: Final = frozenset({"&&", "||", ";", "|", "&"})


class Wrong(Exception):
    """A command of a page that would not do what the page says; the text says why."""


def check(text: str) -> None:
    """Check every command of a block. Raises Wrong for the first that can't be right."""
    found = list(commands(text))
    if not found:
        raise Wrong("there is no command in it")
    for words in found:
        checker = CHECKERS.get(words[0].removeprefix(".venv/Scripts/"))
        if checker is None:
            raise Wrong(f"nobody knows how to check {words[0]}; run the block, or add a checker")
        checker(words[1:])


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a block as words, without comments, redirections, assignments and sudo."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if token not in _SEPARATORS:
                words.append(token)
                continue
            if words := _bare(words):
                yield words
            words = []


def _bare(words: list[str]) -> list[str]:
    cut = next((at for at, word in enumerate(words) if set(word) <= set("<>")), len(words))
    words = words[:cut]
    while words and _ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    if words and words[0] == "sudo":
        words = words[3:] if words[1] == "-u" else words[1:]
    return words


def muxi_server(words: Sequence[str]) -> None:
    """Parse as the program itself does: commands, options, their values, the number of arguments."""
    try:
        arguments, _ = prepare(words)
        command: click.Command = root
        context = click.Context(root, info_name=PROGRAM)
        while isinstance(command, click.Group):
            if not arguments:
                raise Wrong(f"which command of {context.command_path}?")
            name, below, arguments = command.resolve_command(context, arguments)
            if below is None:
                raise Wrong(f"there is no command {name}")
            command, context = below, click.Context(below, info_name=name, parent=context)
        _parse(command, context, arguments)
    except click.UsageError as error:
        raise Wrong(error.format_message()) from error


def _parse(command: click.Command, context: click.Context, arguments: list[str]) -> None:
    values, left, _ = command.make_parser(context).parse_args(list(arguments))
    if left:
        raise Wrong(f"{context.command_path} takes no {left}")
    for parameter in command.get_params(context):
        # Files and directories of the pages are not here.
        if not isinstance(parameter.type, click.Path | click.File) and not parameter.is_eager:
            parameter.process_value(context, values.get(parameter.name or ""))


def make(words: Sequence[str]) -> None:
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for line in phony for target in line.split()}
    if unknown := [word for word in words if "=" not in word and word not in targets]:
        raise Wrong(f"the Makefile has no {unknown}")


def systemctl(words: Sequence[str]) -> None:
    verb, *rest = [word for word in words if not word.startswith("-")]
    if verb == "daemon-reload" and not rest:
        return
    known = {"start", "stop", "restart", "reload", "status", "enable", "disable", "edit"}
    if verb not in known or len(rest) != 1 or rest[0] not in UNIT:
        raise Wrong(f"systemctl {' '.join(words)} is not about our unit")


def journalctl(words: Sequence[str]) -> None:
    if words[:2] != ["-u", "muxi-server"] or set(words[2:]) - {"-f", "-e", "-b"}:
        raise Wrong("name our unit: journalctl -u muxi-server")


def docker(words: Sequence[str]) -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    images = re.findall(r"image: (\S+)", compose)
    if words[0] == "compose":
        if words[1] not in {"up", "down", "logs", "pull", "ps", "exec"}:
            raise Wrong(f"docker compose {words[1]}?")
    elif words[0] in {"run", "pull"}:
        if not set(words) & set(images):
            raise Wrong(f"the image is {images}")
    elif words[0] in {"logs", "stop", "start", "exec", "rm"}:
        if "muxi-server" not in words:
            raise Wrong("the container of these pages is muxi-server")
    elif words[0] != "build":
        raise Wrong(f"docker {words[0]}?")


def python(words: Sequence[str]) -> None:
    """Check `-m MODULE …`: ours by what it has, others by name."""
    options = list(words[1:]) if words and re.fullmatch(r"-3\.\d+", words[0]) else list(words)
    if len(options) < 2 or options[0] != "-m":
        raise Wrong("a program of ours is called by python -m")
    name, arguments = options[1], options[2:]
    if name == "muxi":
        muxi_server(arguments)
    elif name == "pytest":
        if lost := [word for word in arguments if "/" in word and not (ROOT / word).exists()]:
            raise Wrong(f"there is no {lost}")
    elif name not in {"venv", "pip"}:
        _our_module(name, arguments)


def _our_module(name: str, arguments: list[str]) -> None:
    place = ROOT / name.replace(".", "/")
    source = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__main__.py"
    if not source.exists():
        raise Wrong(f"there is no {name}")
    if arguments and arguments[0].isalpha() and f'"{arguments[0]}"' not in source.read_text():
        raise Wrong(f"{name} has no {arguments[0]}")


def pip(words: Sequence[str]) -> None:
    name = re.search(r'^name = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    if words[0] != "install" or not name or words[-1] not in {".", name[1]}:
        raise Wrong("what is installed is this checkout, or the package by its name")


def curl(words: Sequence[str]) -> None:
    """Only the installer is fetched by a command that is not run."""
    address = next((word for word in words if word.startswith("http")), "")
    if f"curl -fsSL {address} " not in (ROOT / "install" / "install.sh").read_text():
        raise Wrong(f"nothing of ours is at {address}")


def installer(words: Sequence[str]) -> None:
    """`sh`, `sh -s -- OPTIONS` or `sh install.sh OPTIONS`: options that install.sh has."""
    known = (ROOT / "install" / "install.sh").read_text()
    for word in words:
        if word.startswith("--") and word != "--" and f"{word} " not in known and f"{word})" not in known:
            raise Wrong(f"install.sh has no {word}")


def apt(words: Sequence[str]) -> None:
    packages = [word for word in words[1:] if not word.startswith("-")]
    if words[0] not in {"update", "install"} or (words[0] == "install") is not bool(packages):
        raise Wrong(f"apt {' '.join(words)}?")
    for name in packages:
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+|\./muxi-server_\S+_(amd64|arm64)\.deb", name):
            raise Wrong(f"{name} is no package's name")


def brew(words: Sequence[str]) -> None:
    if list(words) not in (["install", "muxi-ai/tap/muxi-server"], ["upgrade", "muxi-server"]):
        raise Wrong("the formula is muxi-ai/tap/muxi-server")


def git(words: Sequence[str]) -> None:
    if words[0] not in {"clone", "push", "tag", "switch", "commit", "add"}:
        raise Wrong(f"git {words[0]}?")


def gh(words: Sequence[str]) -> None:
    if words[:2] != ["attestation", "verify"] or "muxi-ai/server" not in words:
        raise Wrong("gh attestation verify FILE --repo muxi-ai/server")


def anything(words: Sequence[str]) -> None:
    del words


CHECKERS: Final[dict[str, Callable[[Sequence[str]], None]]] = {
    **dict.fromkeys(PLAIN, anything),
    # A signature, which tests/auth/test_auth_vectors makes with OpenSSL as well.
    **dict.fromkeys(("printf", "openssl", "base64"), anything),
    PROGRAM: muxi_server,
    "apt": apt,
    "apt-get": apt,
    "brew": brew,
    "curl": curl,
    "docker": docker,
    "gh": gh,
    "git": git,
    "journalctl": journalctl,
    "make": make,
    "pip": pip,
    "py": python,
    "python": python,
    "python3": python,
    "sh": installer,
    "systemctl": systemctl,
}
