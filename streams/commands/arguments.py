"""What commands share: exit statuses, how they say what is wrong, arguments that mean the same everywhere.

Exit status 0 done, 1 the work failed, 2 the input or configuration is wrong (CONTRACT.md section 1).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from streams import logs

FAILED: Final = 1
WRONG: Final = 2
DATA: Final = Path("heardback-data")

Broker = Annotated[
    str | None,
    typer.Option(envvar="HEARDBACK_BROKER", help="kafka://host:9092 or sqlite:///path; default: sqlite under --data."),
]
DataFolder = Annotated[
    Path, typer.Option(envvar="HEARDBACK_DATA", help="Where the embedded broker keeps its log, and facts are kept.")
]


def wrong(*lines: object) -> NoReturn:
    """Say what is wrong with the input or the configuration and leave with status 2."""
    _say(lines)
    raise typer.Exit(WRONG)


def failed(*lines: object) -> NoReturn:
    """Say why the work failed and leave with status 1."""
    _say(lines)
    raise typer.Exit(FAILED)


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
