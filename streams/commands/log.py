"""The log that a command looks into or writes to: which one is meant, and how it is opened.

What stands in it is the business of each command.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from schemas.configuration import Configuration
from streams import settings
from streams.commands.arguments import wrong

if TYPE_CHECKING:
    from streams.transport import LogClient

CONFIG: Final = Path("heardback.yaml")

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar="HEARDBACK_CONFIG", help="For the topics' prefix. Default: heardback.yaml, if any."
    ),
]


def configuration(path: Path | None, faults_of: settings.FaultsOf = settings.no_further_faults) -> Configuration:
    """The configuration in `path`, else in heardback.yaml, else what the environment says; leaves with status 2 and
    every fault where it cannot be used."""
    path = path or (CONFIG if CONFIG.exists() else None)
    try:
        if path is not None:
            return settings.load(path, os.environ, faults_of)
        return settings.parse(b"", file="", environment=os.environ, faults_of=faults_of)
    except settings.ConfigurationError as invalid:
        wrong(*invalid.faults)


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
