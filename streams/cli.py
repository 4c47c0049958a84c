"""The console script `heardback`: arguments in, exit status out. What commands do stands elsewhere.

Exit status 0 done, 1 the work failed, 2 the input or configuration is wrong (CONTRACT.md section 1). This
and the commands are all that knows both `streams` and `alerting`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from schemas.configuration import Configuration
from streams import settings
from streams.commands import alerts, dead_letters, serving
from streams.commands.arguments import (
    DATA,
    FAILED,
    PATH,
    Broker,
    DataFolder,
    Port,
    an_instant,
    broker_url,
    failed,
    in_words,
    named,
    said_failed,
    standard_input_once,
    unread_output,
    wrong,
)
from streams.commands.given import ConfigFile, configuration, customers_of

app = typer.Typer(
    name="heardback",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"heardback {version('heardback')}")
        raise typer.Exit


@app.callback()
def heardback(
    _: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Did every customer hear back? Watches contacts over every channel and pages for unanswered customers."""


def main() -> None:
    """Run the command that was asked for. An output that cannot be written is said like everything else that fails."""
    try:
        app()
    except OSError as broken:
        unread_output()
        raise SystemExit(said_failed(f"{broken.filename or 'standard output'}: {broken.strerror or broken}")) from None


@app.command(epilog="Example: heardback check --config heardback.yaml --alert tier=gold,channel=form,kind=breach")
def check(
    config: ConfigFile = Path("heardback.yaml"),
    alert: Annotated[
        list[str] | None,
        typer.Option(
            help="Say who would be told of such an alert, route by route: tier, channel, queue, owner, policy, kind, "
            "severity as key=value pairs."
        ),
    ] = None,
    customers: Annotated[
        str | None,
        typer.Option(help="All customers there are: a route for a tier or an owner that none has is a fault."),
    ] = None,
) -> None:
    """Validate the configuration. All faults are named at once, with line numbers."""
    from streams.commands import checking

    known = None if customers is None else customers_of(customers)

    def faults_of(loaded: Configuration) -> Iterator[tuple[Sequence[str | int], str]]:
        yield from checking.faults_but_secrets(loaded)
        if known is not None:
            without = set(checking.faults_of_routes(loaded))
            yield from (fault for fault in checking.faults_of_routes(loaded, known) if fault not in without)

    loaded = configuration(config, faults_of)
    policies = settings.policies_of(loaded)
    promised = checking.counted(len(policies.policies), "policy", "policies")
    typer.echo(
        f"{config}: {promised} on {checking.counted(len(policies.calendars), 'calendar', 'calendars')}, no fault"
    )
    for warning in checking.warnings(loaded):
        typer.echo(f"{config}: note: {warning}")
    if alert:
        try:
            for line in checking.explained(loaded, checking.said_in(alert)):
                typer.echo(line)
        except ValueError as unusable:
            wrong(f"--alert: {unusable}")


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
        Path | None,
        typer.Option(parser=named, metavar=PATH, help="Folder for outcomes, alerts, journeys, dead letters, summary."),
    ] = None,
) -> None:
    """Run the engine over files, in simulated time. Says what every clock came to."""
    from streams.commands import replaying
    from streams.commands.bar import bar

    standard_input_once(*events, customers)
    loaded = configuration(config)
    until_at = an_instant(until) if until else None
    try:
        with bar(sys.stderr) as progress:
            result = replaying.run(events, loaded, customers, until_at, progress)
    except OSError as unreadable:
        wrong(f"{unreadable.filename}: {unreadable.strerror}")
    replaying.report_refusals(result, sys.stderr)
    if out is not None:
        try:
            replaying.write(result, loaded, out)
        except OSError as unwritable:
            failed(f"{unwritable.filename or out}: {unwritable.strerror}")
    typer.echo(replaying.summary_text(result))


@app.command(epilog="Example: heardback explain T-4711 --from week --at 2026-11-16T12:00:00Z")
def explain(
    contact: Annotated[str, typer.Argument(help="The contact's id.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="The --out folder of a replay, or the --data folder of run. Default: the folder where you are, else "
            "HEARDBACK_DATA, else heardback-data.",
        ),
    ] = None,
    at: Annotated[str | None, typer.Option(help="Explain it as it was known at this instant.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Judge by this configuration instead of the one that judged it.")
    ] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Show the customer's words too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Say why each clock of a contact says what it says. Every stretch, counted or not, with its cause."""
    from streams.commands import explaining

    instant = an_instant(at) if at else None
    policies = settings.policies_of(configuration(config)) if config else None
    try:
        folders = (Path(), Path(os.environ.get("HEARDBACK_DATA") or DATA)) if folder is None else (folder,)
        found = explaining.explanation(contact, explaining.load(*folders), at=instant, policies=policies)
    except explaining.CannotExplain as nothing:
        wrong(nothing)
    except OSError as unreadable:
        wrong(f"{unreadable.filename}: {unreadable.strerror}")
    typer.echo(explaining.shown(found, as_json=as_json, summary=summary))


@app.command(epilog="Example: heardback audit --data /var/lib/heardback --config heardback.yaml")
def audit(
    broker: Broker = None,
    data: DataFolder = DATA,
    config: ConfigFile = Path("heardback.yaml"),
    at: Annotated[str | None, typer.Option(help="Take this instant for now. Default: now.")] = None,
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Judge everything anew, and say what disagrees. From the events, held against what was made of them: outcomes,
    instants to look again, alerts and their deliveries. Works beside a running heardback. Status 1 where something
    disagrees."""
    import orjson

    from streams.audit import NothingToAudit
    from streams.commands import auditing
    from streams.transport import TransportError

    if form not in ("text", "json"):
        wrong(f"found format {form!r}, wanted text or json")
    instant = an_instant(at) if at else None
    loaded = configuration(config)
    os.nice(auditing.NICENESS)
    try:
        found = auditing.run(broker_url(broker, data), loaded, instant)
    except NothingToAudit as nothing:
        wrong(nothing)
    except (TransportError, OSError) as broken:
        failed(in_words(broken))
    typer.echo(orjson.dumps(found).decode() if form == "json" else auditing.text(found))
    if found["findings"]:
        raise typer.Exit(FAILED)


app.command(epilog="Example: heardback run --config heardback.yaml --data /var/lib/heardback")(serving.run)
app.command(epilog="Example: heardback worker streams --broker kafka://kafka:9092 --config heardback.yaml")(
    serving.worker
)


@app.command(epilog="Example: heardback report --week 2026-W46 --from week --config heardback.yaml --out w46.html")
def report(
    week: Annotated[
        str | None, typer.Option(help="Such as 2026-W46. Default: the last whole week of the facts.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--format", help="html, md, json or csv. Default: as --out is named, else html.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(parser=named, metavar=PATH, help="The file to write. Default: standard output.")
    ] = None,
    db: Annotated[
        str | None, typer.Option(help="Facts at sqlite:///PATH or postgresql://HOST/DATABASE. Default: configured.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--from", help="The --out folder of a replay instead.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", envvar="HEARDBACK_CONFIG", help="For report.time_zone and facts.url.")
    ] = None,
    data: DataFolder = DATA,
) -> None:
    """Write the weekly responsiveness report. Who heard back as promised, who was let down, who still waits."""
    from streams.commands import reporting
    from streams.facts import FactsError
    from streams.facts.store import UNREACHABLE
    from streams.reports import NotAWeek, render

    if db is not None and folder is not None:
        wrong("found --db and --from, wanted one of them")
    try:
        chosen = reporting.format_of(to, out)
        loaded = reporting.configuration(config, os.environ)
        if folder is not None:
            found = reporting.from_folder(folder, week, loaded.report)
        else:
            found = reporting.from_store(db or reporting.store_url(loaded.facts, data), week, loaded.report)
    except settings.ConfigurationError as invalid:
        wrong(*invalid.faults)
    except (FactsError, NotAWeek, reporting.NoReport, ValueError) as unusable:
        wrong(unusable)
    except UNREACHABLE as away:
        failed(f"the facts cannot be read: {type(away).__name__}")
    try:
        if out is None:
            sys.stdout.buffer.write(render(found, chosen))
        else:
            out.write_bytes(render(found, chosen))
    except OSError as unwritable:
        if out is None:
            unread_output()
        failed(f"{out or 'standard output'}: {unwritable.strerror}")


@app.command(epilog="Example: heardback demo --exit")
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="End after the sample, with status 0.")] = False,
    port: Port = 8080,
    seconds: Annotated[float, typer.Option(min=5, help="How long the sample's nine days take.")] = 42.0,
) -> None:
    """Play nine days of real contacts in under a minute. They go through the whole system."""
    import asyncio
    from contextlib import suppress
    from tempfile import TemporaryDirectory

    from streams import logs
    from streams.commands import demonstrating
    from streams.transport import TransportError

    logs.configure(logging.WARNING)

    with TemporaryDirectory(prefix="heardback-demo-") as folder, suppress(KeyboardInterrupt):
        try:
            asyncio.run(demonstrating.run(Path(folder), port=port, leave=leave, seconds=seconds))
        except (TransportError, OSError) as broken:
            failed(in_words(broken))


@app.command(
    "import",
    epilog="Example: heardback import servicenow incident_event_log.csv.gz --time-zone Europe/Lisbon > events.jsonl",
)
def import_(
    source: Annotated[str, typer.Argument(help="The system: mail or servicenow.")],
    files: Annotated[list[str], typer.Argument(help="Exports, plain or gzip; mail also maildirs, mboxes; - is stdin.")],
    time_zone: Annotated[
        str | None, typer.Option(help="Zone of a servicenow log's wall times, such as Europe/London. Default: UTC.")
    ] = None,
    our_domain: Annotated[list[str] | None, typer.Option(help="A mail domain that is ours; may be repeated.")] = None,
    our_address: Annotated[list[str] | None, typer.Option(help="A mail address that is ours; may be repeated.")] = None,
) -> None:
    """Turn exports of a known system into events. They go to standard output; standard error says what is refused."""
    from streams.commands import importing

    try:
        known, options = importing.chosen(source, time_zone, our_domain, our_address)
    except ValueError as unusable:
        wrong(unusable)
    standard_input_once(*files)
    if faults := importing.unopenable(files, folders=known.folders):
        wrong(*faults)
    try:
        result = importing.run(known, files, options, sys.stdout.buffer, sys.stderr)
    except BrokenPipeError:
        unread_output()
        raise typer.Exit(FAILED) from None
    except OSError as broken:
        unread_output()
        failed(f"{broken.filename or 'standard output'}: {broken.strerror}")
    typer.echo(result, err=True)


@app.command(epilog="Example: heardback schema --out schemas")
def schema(
    out: Annotated[
        Path | None, typer.Option(parser=named, metavar=PATH, help="Folder for the JSON Schemas and asyncapi.json.")
    ] = None,
) -> None:
    """Write the JSON Schemas and the AsyncAPI document. Without --out, print the latter."""
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
        failed(f"{unwritable.filename or out}: {unwritable.strerror}")
    typer.echo(f"{out}: {len(written)} documents")


app.add_typer(
    alerts.app,
    name="alerts",
    help="What fires now, the story of one alert, a test message.",
    epilog="Example: heardback alerts list",
)
app.add_typer(
    dead_letters.app,
    name="dead-letters",
    help="What was refused, why, and putting it back.",
    epilog="Example: heardback dead-letters list --reason naive_instant",
)


if __name__ == "__main__":
    main()
