"""What commands share: exit statuses, how they say what is wrong, arguments that mean the same everywhere.

Exit status 0 done, 1 the work failed, 2 the input or configuration is wrong (CONTRACT.md section 1).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from streams import logs

FAILED: Final = 1
WRONG: Final = 2
DATA: Final = Path("heardback-data")
PATH: Final = "<path>"


def named(text: str) -> Path:
    """Where something is to be written. An empty name, as of a variable of the shell that is not set, would be the
    folder where one is."""
    if not text:
        raise typer.BadParameter("found no name, wanted that of a file or a folder; the one where you are is '.'")
    return Path(text)


Broker = Annotated[
    str | None,
    typer.Option(envvar="HEARDBACK_BROKER", help="kafka://host:9092 or sqlite:///path; default: sqlite under --data."),
]
KafkaBroker = Annotated[str | None, typer.Option(envvar="HEARDBACK_BROKER", help="kafka://host:9092[,host:9092].")]
Port = Annotated[int, typer.Option(envvar="HEARDBACK_PORT", min=0, max=65_535, help="HTTP port; 0 is any free one.")]
DataFolder = Annotated[
    Path,
    typer.Option(
        parser=named,
        metavar=PATH,
        envvar="HEARDBACK_DATA",
        help="Where the embedded broker keeps its log, and facts are kept.",
    ),
]


def wrong(*lines: object) -> NoReturn:
    """Say what is wrong with the input or the configuration and leave with status 2."""
    _say(lines)
    raise typer.Exit(WRONG)


def failed(*lines: object) -> NoReturn:
    """Say why the work failed and leave with status 1."""
    raise typer.Exit(said_failed(*lines))


def said_failed(*lines: object) -> int:
    """Say why the work failed; returns the status to leave with."""
    _say(lines)
    return FAILED


def in_words(broken: Exception) -> str:
    """What went wrong: of the operating system's errors the file and the reason, without its number."""
    if not isinstance(broken, OSError) or broken.strerror is None:
        return str(broken)
    hint = "; another one by --port" if broken.errno == errno.EADDRINUSE else ""
    return f"{broken.filename}: {broken.strerror}{hint}" if broken.filename is not None else broken.strerror


def unread_output() -> None:
    """Nobody takes standard output any more: what is left of it goes nowhere, so that no flush at exit fails again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def standard_input_once(*names: str | None) -> None:
    """Several files may be named, but `-` only once: it is read to its end, and closed."""
    if names.count("-") > 1:
        wrong("found - more than once, wanted standard input once")


def _say(lines: Iterable[object]) -> None:
    """Last of all that stands on standard error."""
    logs.flush()
    for line in lines:
        typer.echo(f"heardback: {line}", err=True)


def an_instant(text: str) -> datetime:
    """An instant with a zone; anything else leaves with status 2."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        wrong(f"found {text!r}, wanted an instant with a zone such as 2026-11-21T10:00:00Z")
    return instant


def broker_url(broker: str | None, data: Path) -> str:
    """The broker that is meant: the one named, else the embedded one of the data folder."""
    return broker or f"sqlite:///{data.absolute() / 'log.sqlite3'}"
