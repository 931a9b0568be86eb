"""The server's log: structlog over the standard library's logging, one set-up for both.

Anybody logs by `structlog.get_logger().info("event", key=value)`; request_id and formation_id come
from `structlog.contextvars`. What libraries log through the standard library takes the same way.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import structlog

from muxi.observe.append import LineFile
from muxi.observe.redact import redact_event
from muxi.observe.render import json_line, text_line
from muxi.observe.writer import DescriptorSink, LineWriter, Sink
from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from structlog.typing import EventDict, Processor, WrappedLogger

    from muxi.observe.redact import Plain

Format = Literal["text", "json"]

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

# httpx logs whole URLs at INFO; the others have nothing to say to an operator below WARNING.
_QUIET = ("asyncio", "h11", "h2", "hpack", "httpcore", "httpx", "hypercorn", "quart", "trio", "urllib3")


@dataclass(frozen=True, slots=True)
class LogSetup:
    """The log as configured. `close` writes what is queued, with a deadline, and detaches it."""

    writer: LineWriter
    handler: logging.Handler

    @property
    def dropped(self) -> int:
        """Lines lost so far because the terminal or disk did not take them."""
        return self.writer.dropped

    def set_level(self, level: str) -> None:
        """Change the level at run time. Raises ValueError for an unknown one."""
        set_level(level)

    def close(self, timeout: float = 2.0) -> None:
        logging.getLogger().removeHandler(self.handler)
        self.writer.close(timeout)


def configure_logging(level: str, format: Format, output: str | Path) -> LogSetup:  # noqa: A002
    """Send all logs of the process to `output`: "stderr", "stdout" or a file (made 0600).

    Replaces what an earlier call set up. Nothing that logs ever waits for the terminal or disk.
    Raises ValueError for an unknown level.
    """
    sink, colour = _sink(output)
    renderer = Renderer(format, colour=colour)
    writer = LineWriter(sink, renderer.dropped_line)
    handler = _Handler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared_processors(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
        old.writer.close()
    root.addHandler(handler)
    set_level(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return LogSetup(writer, handler)


def set_level(level: str) -> None:
    """Set the least important level that is logged. Raises ValueError for an unknown one."""
    if level.lower() not in LEVELS:
        raise ValueError(f"unknown log level {level!r}; allowed: {', '.join(LEVELS)}")
    logging.getLogger().setLevel(LEVELS[level.lower()])


@contextmanager
def log_to(stream: TextIO, level: str) -> Iterator[None]:
    """Send what is logged by structlog to a stream as text, for the block: for commands that end soon.

    Raises ValueError for an unknown level.
    """
    if level.lower() not in LEVELS:
        raise ValueError(f"unknown log level {level!r}; allowed: {', '.join(LEVELS)}")
    before = structlog.get_config()
    structlog.configure(
        processors=[*_shared_processors(), Renderer("text", colour=False)],
        logger_factory=structlog.PrintLoggerFactory(stream),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level.lower()]),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


class Renderer:
    """The last processor: blanks secrets, then makes the line."""

    def __init__(self, format: Format, *, colour: bool) -> None:  # noqa: A002
        self._json = format == "json"
        self._colour = colour

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        return self.render(redact_event(event))

    def render(self, event: dict[str, Plain]) -> str:
        return json_line(event) if self._json else text_line(event, colour=self._colour)

    def dropped_line(self, count: int) -> str:
        now = rfc3339(time.time())
        return self.render(
            {"time": now, "level": "warning", "event": "log lines were dropped", "count": count}
        )


class _Handler(logging.Handler):
    """Formats where the event arises, so that its context is right, and queues the line."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.writer.write(self.format(record))
        except Exception:  # noqa: BLE001 - logging must not fail what it tells of
            self.writer.write(f"a log event could not be rendered: {record.name} {record.levelname}")

    def close(self) -> None:
        """Flush with a deadline; `logging.shutdown` calls this when the interpreter ends."""
        self.writer.close()
        super().close()


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _add_time,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord | None = event.get("_record")
    event["time"] = rfc3339(record.created if record is not None else time.time())
    return event


def _sink(output: str | Path) -> tuple[Sink, bool]:
    if output in {"stderr", "stdout"}:
        stream = sys.stderr if output == "stderr" else sys.stdout
        return DescriptorSink(stream.fileno()), stream.isatty()
    return LineFile(Path(output)), False
