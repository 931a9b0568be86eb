from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from muxi.cli.progress import display, follow, line
from muxi.cli.sse import ServerEvent
from muxi.errors import OperatorError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(stage: str, **more: object) -> ServerEvent:
    return ServerEvent("progress", {"stage": stage, "message": f"{stage} ...", **more})


EVENTS = [
    progress("extracting"),
    progress("health_check"),
    *(progress("health_check", attempt=n, max_attempts=30) for n in range(1, 4)),
    ServerEvent("news", {}),
    ServerEvent("complete", {"port": 8001}),
]


def endless_after(events: list[ServerEvent]) -> Iterator[ServerEvent]:
    yield from events
    raise AssertionError("read past the end of the operation")


def test_the_result_is_that_of_the_complete_event_and_nothing_after_it_is_read() -> None:
    seen: list[ServerEvent] = []
    assert follow(endless_after(EVENTS), seen.append) == {"port": 8001}
    assert len(seen) == 5


def test_an_error_event_raises() -> None:
    with pytest.raises(RequestError, match="no health"):
        follow(iter([ServerEvent("error", {"message": "no health"})]), lambda _: None)


def test_a_stream_that_ends_early_raises() -> None:
    with pytest.raises(OperatorError, match="before the operation had ended"):
        follow(iter(EVENTS[:3]), lambda _: None)


def test_elsewhere_each_stage_is_one_line() -> None:
    out = io.StringIO()
    with display(stream=out) as show:
        follow(iter(EVENTS), show)
    assert out.getvalue() == "extracting: extracting ...\nhealth_check: health_check ...\n"


def test_on_a_terminal_finished_stages_are_ticked_off() -> None:
    out = Terminal()
    with display(stream=out) as show:
        follow(iter([progress("extracting"), progress("[red]odd"), *EVENTS[1:]]), show)
    assert "extracting" in out.getvalue()
    assert "✓" in out.getvalue()
    assert "odd" in out.getvalue()


def test_quiet_shows_nothing() -> None:
    out = io.StringIO()
    with display(quiet=True, stream=out) as show:
        follow(iter(EVENTS), show)
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (progress("spawning"), "spawning ..."),
        (progress("health_check", attempt=2, max_attempts=30), "health_check ... (2/30)"),
        (
            ServerEvent("progress", {"stage": "x", "message": "try 2", "attempt": 2, "max_attempts": 3}),
            "try 2",
        ),
        (ServerEvent("progress", {"stage": "odd"}), "odd"),
        (ServerEvent("progress", {"message": "a\x1bb"}), "a�b"),
    ],
)
def test_line(event: ServerEvent, text: str) -> None:
    assert line(event) == text
