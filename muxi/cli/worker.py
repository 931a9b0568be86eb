"""What the server starts more processes by; not for people."""

from __future__ import annotations

import click

from muxi.workers.worker import run


@click.command("worker")
@click.argument("descriptor", type=click.IntRange(0))
def command(descriptor: int) -> int:
    """Proxy for the server at the other end of the inherited socket DESCRIPTOR."""
    return run(descriptor)
