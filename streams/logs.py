"""Logs of a process: one event a line on standard error, JSON when that is no terminal.

Called once by the command that runs; libraries log through the same lines, warnings and worse. What is
logged never holds a customer's words or addresses: callers name ids, counts and reasons.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog

QUIET: Final = (
    "faust",
    "mode",
    "aiokafka",
    "aiohttp",
    "asyncio",
    "streams.transport.driver",
    "streams.transport.table",
    "streams.transport.consumer",
)


def configure(level: int = logging.INFO) -> None:
    """Set up structlog and the standard library's logging for this process."""
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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
