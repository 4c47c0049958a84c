"""Logs of a process: one event a line on standard error, JSON when that is no terminal.

Called once by the command that runs; libraries log through the same lines, warnings and worse. What is
logged never holds a customer's words or addresses: callers name ids, counts and reasons.

Nobody waits for whoever reads standard error: a thread writes the lines, and where it cannot, for a pipe that nobody
empties, lines beyond a bound are dropped and counted. A library that says the same again and again, such as of a broker
that is away, is heard once in a while, and how often it said so.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import QueueHandler
from typing import Any, Final

LIBRARIES: Final = ("faust", "mode", "aiokafka", "aiohttp", "asyncio")
QUIET: Final = (
    *LIBRARIES,
    "streams.transport.driver",
    "streams.transport.table",
    "streams.transport.consumer",
)


REPEATED_AFTER_SECONDS: Final = 10.0
KINDS_KEPT: Final = 1_000
LINES_WAITING_MAX: Final = 10_000
FLUSH_SECONDS_MAX: Final = 2.0


class Seldom(logging.Filter):
    """Lets a library say the same (its words, whatever it fills in) once in `REPEATED_AFTER_SECONDS`, with `repeated`,
    how often it was said meanwhile. Everybody else is let through."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is to be heard."""
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        kind, now = (record.name, str(record.msg)), self._monotonic()
        at, repeated = self._said.get(kind, (now - REPEATED_AFTER_SECONDS, 0))
        if now < at + REPEATED_AFTER_SECONDS:
            self._said[kind] = (at, repeated + 1)
            return False
        if len(self._said) >= KINDS_KEPT:
            self._said.clear()
        self._said[kind] = (now, 0)
        if repeated:
            record.repeated = repeated
        return True


class _Lines(QueueHandler):
    """Hands formatted lines to a thread that writes them."""

    def __init__(self, stream: Any) -> None:
        self.lines: queue.Queue[logging.LogRecord] = queue.Queue(LINES_WAITING_MAX)
        super().__init__(self.lines)
        self._dropped = 0
        self._stream = stream
        threading.Thread(target=self._write, name="log-lines", daemon=True).start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never waits."""
        try:
            if self._dropped:
                self.lines.put_nowait(self.prepare(_dropped(self._dropped)))
                self._dropped = 0
            self.lines.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def flush_within(self, seconds: float) -> None:
        """Waits until everything is written, for so long at most."""
        deadline = time.monotonic() + seconds
        while self.lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)

    def _write(self) -> None:
        while True:
            line = f"{self.lines.get().getMessage()}\n".encode(errors="backslashreplace")
            with suppress(OSError):  # nobody is left who could be told
                _put(line, self._stream)
            self.lines.task_done()


def _put(line: bytes, stream: Any) -> None:
    """Past the stream's own buffer: its lock must be free when the process ends, though nobody reads."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):  # a test's stream
        stream.write(line.decode())
        return
    while line:
        line = line[os.write(descriptor, line) :]


def _dropped(count: int) -> logging.LogRecord:
    return logging.LogRecord(
        __name__, logging.WARNING, __file__, 0, "log_lines_dropped: %d, as nobody read them", (count,), None
    )


def flush(seconds: float = FLUSH_SECONDS_MAX) -> None:
    """Has everything that was logged written, for so long at most. Before a process ends without further ado."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Lines):
            handler.flush_within(seconds)


def configure(level: int = logging.INFO) -> None:
    """Set up structlog and the standard library's logging for this process."""
    import structlog  # with its tracebacks a fifth of what a command that logs nothing would take to start

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _Lines(sys.stderr)
    handler.addFilter(Seldom())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    atexit.register(flush)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # a timer that took longer than its interval is no news: how late wake-ups are is a metric
    logging.getLogger("mode.timers").setLevel(logging.ERROR)
