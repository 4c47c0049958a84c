"""The console script `heardback`: arguments in, exit status out. What commands do stands elsewhere.

Exit status 0 done, 1 the work failed, 2 the input or configuration is wrong (CONTRACT.md section 1). This
is the only module that knows both `streams` and `alerting`.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from schemas.configuration import Configuration
from streams import settings

FAILED: Final = 1
WRONG: Final = 2

app = typer.Typer(
    name="heardback",
    help="Did every customer hear back? Watches contacts over every channel and pages for unanswered customers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[
    Path, typer.Option("--config", envvar="HEARDBACK_CONFIG", help="The configuration file, heardback.yaml.")
]


def main() -> None:
    """Run the console script."""
    app()


def wrong(*lines: object) -> NoReturn:
    """Say what is wrong with the input or the configuration and leave with status 2."""
    for line in lines:
        typer.echo(f"heardback: {line}", err=True)
    raise typer.Exit(WRONG)


def configuration(path: Path) -> Configuration:
    """The configuration in `path`, or every fault on standard error and status 2."""
    try:
        return settings.load(path, os.environ)
    except settings.ConfigurationError as invalid:
        wrong(*invalid.faults)


def an_instant(text: str) -> datetime:
    """An instant with a zone; anything else leaves with status 2."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        wrong(f"found {text!r}, wanted an instant with a zone such as 2026-11-21T10:00:00Z")
    return instant


@app.command(epilog="Example: heardback check --config heardback.yaml")
def check(config: ConfigFile = Path("heardback.yaml")) -> None:
    """Validate the configuration: all faults at once, with line numbers."""
    loaded = configuration(config)
    policies = settings.policies_of(loaded)
    typer.echo(f"{config}: {len(policies.policies)} policies on {len(policies.calendars)} calendars, no fault")


@app.command(
    epilog="Example: heardback replay events.jsonl.gz --config heardback.yaml --customers customers.yaml --out week"
)
def replay(
    events: Annotated[
        list[str], typer.Argument(help="JSON Lines of events, plain or .gz, in any order; - reads stdin.")
    ],
    config: ConfigFile = Path("heardback.yaml"),
    customers: Annotated[str | None, typer.Option(help="Customers: YAML, JSON, JSON Lines or CSV.")] = None,
    until: Annotated[
        str | None, typer.Option(help="Know no event after this instant. Default: the last event.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for outcomes, alerts, journeys, dead letters, summary.")
    ] = None,
) -> None:
    """Run the engine over files in simulated time and say what every clock came to."""
    from streams.commands import replaying

    loaded = configuration(config)
    until_at = an_instant(until) if until else None
    try:
        result = replaying.run(events, loaded, customers, until_at)
    except OSError as unreadable:
        wrong(f"{unreadable.filename}: {unreadable.strerror}")
    replaying.report_refusals(result, sys.stderr)
    if out is not None:
        try:
            replaying.write(result, out)
        except OSError as unwritable:
            typer.echo(f"heardback: {unwritable.filename}: {unwritable.strerror}", err=True)
            raise typer.Exit(FAILED) from None
    typer.echo(replaying.summary_text(result))


@app.command(epilog="Example: heardback schema --out schemas")
def schema(
    out: Annotated[Path | None, typer.Option(help="Folder for the JSON Schemas and asyncapi.json.")] = None,
) -> None:
    """Write the JSON Schema of every record and the AsyncAPI document; without --out, print the latter."""
    from schemas.documents import ASYNCAPI_FILE, documents

    written = documents(version("heardback"))
    if out is None:
        sys.stdout.buffer.write(written[ASYNCAPI_FILE])
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in written.items():
            (out / name).write_bytes(content)
    except OSError as unwritable:
        typer.echo(f"heardback: {unwritable.filename}: {unwritable.strerror}", err=True)
        raise typer.Exit(FAILED) from None
    typer.echo(f"{out}: {len(written)} documents")


if __name__ == "__main__":
    main()
