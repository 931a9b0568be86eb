"""Showing an operation's progress: a live line on a terminal, a line a stage elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from muxi.cli.client import failure
from muxi.cli.output import clean
from muxi.cli.sse import ServerEvent
from muxi.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from muxi.cli.client import ServerClient, Upload

Show = Callable[[ServerEvent], None]


def follow(events: Iterator[ServerEvent], show: Show) -> dict[str, object]:
    """Show the progress of an operation until it ends, and return its result.

    Raises MuxiError when it failed, or when the stream ends before it did.
    """
    for event in events:
        if event.name == "progress":
            show(event)
        elif event.name == "complete":
            return event.data
        elif event.name == "error":
            raise failure(event)
    raise OperatorError(
        "The server ended the stream before the operation had ended.",
        cure="See with `muxi-server formation list` how it stands.",
    )


def send_and_follow(
    client: ServerClient,
    method: str,
    path: str,
    upload: Upload,
    show: Show,
    *,
    undo: Callable[[], None],
    **params: str,
) -> dict[str, object]:
    """Send a bundle and follow the operation that it begins.

    Ctrl-C calls `undo` once the server has taken the bundle in; a broken upload it drops by itself.
    """
    accepted = False
    try:
        with client.stream(method, path, upload, **params) as events:
            accepted = True
            return follow(events, show)
    except KeyboardInterrupt:
        if accepted:
            undo()
        raise


@contextmanager
def display(*, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Show]:
    """Give the function that shows one `progress` event."""
    out = stream or sys.stdout
    if quiet:
        yield lambda _event: None
    elif out.isatty():
        with _live(out) as show:
            yield show
    else:
        yield _plain(out)


def line(event: ServerEvent) -> str:
    """Return a stage as one line: its message, and how far it is when that is known."""
    text = clean(event.text("message") or event.text("stage"))
    attempt, attempts = event.data.get("attempt"), event.data.get("max_attempts")
    if attempt is not None and attempts is not None and str(attempt) not in text:
        return f"{text} ({attempt}/{attempts})"
    return text


def _plain(out: TextIO) -> Show:
    shown: list[str] = []

    def show(event: ServerEvent) -> None:
        stage = event.text("stage")
        if stage not in shown[-1:]:
            shown.append(stage)
            print(f"{stage}: {line(event)}", file=out, flush=True)

    return show


@contextmanager
def _live(out: TextIO) -> Iterator[Show]:
    from rich.console import Console  # noqa: PLC0415 - slow to load, and wanted on terminals only

    console = Console(file=out)
    stages: list[str] = []
    with console.status("Sending ...", spinner="dots") as status:

        def show(event: ServerEvent) -> None:
            stage = event.text("stage")
            if stage not in stages:
                if stages:
                    console.print(f"[green]✓[/green] {stages[-1]}", highlight=False)
                stages.append(clean(stage))
            status.update(line(event).replace("[", r"\["))

        yield show
