"""Questions to the person at the terminal. The end of the input answers each with its default."""

from __future__ import annotations

import socket
import sys

import click

from muxi.errors import OperatorError

LAST_PORT = 65535


def ask(question: str, default: str) -> str:
    """Ask on standard output, read a line from standard input."""
    click.echo(f"{question} [{default}]: ", nl=False)
    line = sys.stdin.readline()
    if not line:
        click.echo()
    return line.strip() or default


def ask_port(default: int) -> int:
    """Ask for a port until it is a number and nobody listens on it.

    Raises OperatorError when the end of the input leaves no free port to fall back on.
    """
    while default <= LAST_PORT:
        answer = ask("Port", str(default))
        if not answer.isascii() or not answer.isdigit() or not 1 <= int(answer) <= LAST_PORT:
            click.echo(f"A port is a number from 1 to {LAST_PORT}.")
        elif is_free(int(answer)):
            return int(answer)
        else:
            click.echo(f"Port {answer} is in use.")
            default = int(answer) + 1
    raise OperatorError("No free port was found.", cure="Name one: muxi-server init --yes --port PORT")


def is_free(port: int) -> bool:
    """Tell whether this port can be listened on, on all interfaces."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
