"""The log that a command looks into or writes to: which one is meant, and how it is opened.

What stands in it is the business of each command.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.arguments import wrong

if TYPE_CHECKING:
    from streams.transport import LogClient

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar="HEARDBACK_CONFIG", help="For the topics' prefix. Default: heardback.yaml, if any."
    ),
]


@asynccontextmanager
async def opened(url: str, *, writes: bool) -> AsyncIterator[LogClient]:
    """A started client. The embedded log is only looked into unless something is to be written: that
    works beside the process that serves it."""
    from streams.transport import TransportError, open_log
    from streams.transport.sqlite import SqliteLog, path_of

    try:
        log: LogClient = open_log(url)
    except TransportError as unusable:
        wrong(unusable)
    if url.startswith("sqlite:"):
        if not path_of(url).exists():
            wrong(f"found no log at {path_of(url)}, wanted the --data or --broker that heardback has run on")
        log = log if writes else SqliteLog(path_of(url), read_only=True)
    await log.start()
    try:
        yield log
    finally:
        await log.close()
