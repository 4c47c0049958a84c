"""`heardback alerts list|show|test`: what fires now, the story of one alert, a test message.

Read from topics `alerts` and `deliveries`, also beside a running heardback. Silencing is Alertmanager's: its
address is printed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import quote

import orjson
import typer

from schemas.configuration import Configuration
from schemas.topics import ALERTS, DELIVERIES
from streams.commands.arguments import DATA, Broker, DataFolder, broker_url, failed, wrong
from streams.commands.given import configuration
from streams.commands.log import ConfigFile, opened

if TYPE_CHECKING:
    from streams.transport import LogClient

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Format = Annotated[Literal["table", "json"], typer.Option("--format", help="table, or json for programs.")]
Record = Mapping[str, Any]
_GRAVITY: Final = {"critical": 0, "page": 1, "warning": 2}
_TOLD: Final = {"trying": "being told", "not_taken": "tried again", "unknown": "tried again", "gave_up": "given up"}


@dataclass(slots=True)
class Story:
    """One alert: every change of it, in order, and every step of telling somebody of it."""

    alert_id: str
    changes: list[Record] = field(default_factory=list)
    deliveries: list[Record] = field(default_factory=list)

    @property
    def last(self) -> Record:
        """The change that holds: of customers between whom a contact has moved, the one for whom it fires."""
        by_customer = {change["customer_id"]: change for change in self.changes}
        return max(by_customer.values(), key=lambda change: (change["state"] == "firing", _instant(change["at"])))

    @property
    def told(self) -> dict[str, str]:
        """By receiver what the last step came to."""
        return {step["receiver"]: step["result"] for step in self.deliveries}


@app.command("list", epilog="Example: heardback alerts list --format json")
def list_(
    broker: Broker = None,
    data: DataFolder = DATA,
    config: ConfigFile = None,
    customer: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    form: Format = "table",
) -> None:
    """List what fires now, the gravest first, and who has been told. Also while heardback runs."""
    loaded = configuration(config)
    stories = _stories(broker, data, loaded)
    shown = [
        story
        for story in stories.values()
        if (every or story.last["state"] == "firing") and customer in (None, story.last["customer_id"])
    ]
    shown.sort(key=lambda story: (_gravity(story.last), story.last["starts_at"], story.alert_id))
    if form == "json":
        _echo([{**story.last, "receivers": story.told} for story in shown])
        return
    for line in _table([_row(story) for story in shown]):
        typer.echo(line)
    firing = sum(story.last["state"] == "firing" for story in shown)
    typer.echo(f"{firing} firing" if shown else "nothing fires", err=True)
    _say_where_to_silence(loaded, [])


@app.command(epilog="Example: heardback alerts show 6f1c")
def show(
    alert: Annotated[str, typer.Argument(metavar="ID", help="The alert's id, or how it begins.")],
    broker: Broker = None,
    data: DataFolder = DATA,
    config: ConfigFile = None,
    form: Format = "table",
) -> None:
    """Tell the whole story of one alert. Each change, and each try to tell somebody. Also while heardback runs."""
    loaded = configuration(config)
    story = _the_one(alert, _stories(broker, data, loaded))
    if form == "json":
        _echo({"alert_id": story.alert_id, "changes": story.changes, "deliveries": story.deliveries})
        return
    for line in _told(story):
        typer.echo(line)
    _say_where_to_silence(loaded, [("alert_id", story.alert_id)])


@app.command("test", epilog="Example: heardback alerts test on-call --config heardback.yaml")
def test_(
    receiver: Annotated[str, typer.Argument(help="The receiver's name in the configuration.")],
    config: ConfigFile = None,  # noqa: PT028 - the name is the command's, it is no test of ours
    form: Format = "table",  # noqa: PT028 - as above
) -> None:
    """Send a test message to a receiver, and its end. They go the way that a page goes."""
    from alerting import trial

    alerts = configuration(config).alerts
    spec = next((one for one in alerts.receivers if one.name == receiver), None)
    if spec is None:
        names = ", ".join(one.name for one in alerts.receivers) or "there are none"
        wrong(f"found no receiver {receiver!r} in the configuration, wanted one of: {names}")
    try:
        told = asyncio.run(trial.tell(spec, alerts, datetime.now(UTC)))
    except ValueError as fault:
        wrong(fault)
    if form == "json":
        _echo([{"receiver": receiver, "state": state, "result": a.result, "detail": a.detail} for state, a in told])
    else:
        for state, answer in told:
            typer.echo(f"{receiver}: {state}: {answer.result}" + (f" ({answer.detail})" if answer.detail else ""))
    if any(answer.result != "delivered" for _, answer in told):
        raise typer.Exit(1)


# -- reading -------------------------------------------------------------------------------------------


def _stories(broker: str | None, data: Path, loaded: Configuration) -> dict[str, Story]:
    """Every alert that the topics still hold, by its id."""
    from streams.transport import BrokerBusy, TransportError

    url, prefix = broker_url(broker, data), loaded.broker.topic_prefix

    async def all_of_it() -> dict[str, Story]:
        async with opened(url, writes=False) as log:
            there = await log.topics()
            for topic in (ALERTS.name, DELIVERIES.name):
                if prefix + topic not in there:
                    wrong(f"{url}: found no topic {prefix}{topic}, has heardback run here?")
            return _told_of(await _read(log, prefix + ALERTS.name), await _read(log, prefix + DELIVERIES.name))

    try:
        return asyncio.run(all_of_it())
    except BrokerBusy as busy:
        failed(busy)
    except TransportError as broken:
        failed(broken)


async def _read(log: LogClient, topic: str) -> list[Record]:
    found: list[Record] = []
    async for batch in log.scan(topic):
        for value in batch.values:
            try:
                record = orjson.loads(value or b"")
            except orjson.JSONDecodeError:
                record = None
            if isinstance(record, dict) and isinstance(record.get("alert_id"), str):
                found.append(record)
    return found


def _told_of(alerts: Iterable[Record], deliveries: Iterable[Record]) -> dict[str, Story]:
    """A delivery to people belongs to each alert that it told of."""
    stories: dict[str, Story] = {}
    for change in alerts:
        stories.setdefault(change["alert_id"], Story(change["alert_id"])).changes.append(change)
    for step in deliveries:
        for name in step.get("alert_ids") or [step["alert_id"]]:
            if name in stories:
                stories[name].deliveries.append(step)
    for story in stories.values():
        story.changes.sort(key=lambda change: _instant(change["at"]))
        story.deliveries.sort(key=lambda step: _instant(step["at"]))
    return stories


def _the_one(name: str, stories: Mapping[str, Story]) -> Story:
    found = [story for story in stories.values() if story.alert_id.startswith(name)]
    if len(found) == 1 or name in stories:
        return stories.get(name) or found[0]
    if not found:
        wrong(f"found no alert {name!r} among {len(stories)}, wanted an id that `alerts list --all` names")
    return wrong(f"found {len(found)} alerts that begin with {name!r}, wanted one: give more of its id")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


# -- showing -------------------------------------------------------------------------------------------


def _row(story: Story) -> list[str]:
    last = story.last
    state = last["severity"] if last["state"] == "firing" else f"({last['resolution']})"
    told = ", ".join(f"{name}: {_TOLD.get(result, result)}" for name, result in story.told.items()) or "nobody"
    return [
        story.alert_id[:12], _clock(last["starts_at"]), state, last["kind"], last["customer_id"] or "-",
        last["contact_id"] or "-", told,
    ]  # fmt: skip


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    head = ["id", "since", "severity", "kind", "customer", "contact", "told"]
    shown = [head, *[[_printable(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    for row in shown:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _told(story: Story) -> Iterator[str]:
    last = story.last
    who = f" of customer {last['customer_id']}, {last['contact_id'] or '-'}" if last["customer_id"] else ""
    yield f"alert {story.alert_id}: {last['kind']}{who}"
    for name, value in last["annotations"].items():
        yield f"  {name}: {_printable(str(value))}"
    change: Callable[[Record], str] = lambda one: (  # noqa: E731 - a line of the list below
        f"{_clock(one['at'])}  {one['state']:<10} {one['kind']}, {one['severity']}"
        f"{', ' + one['resolution'] if one['resolution'] else ''}: {_printable(one['summary'])}"
    )
    lines = [(_instant(one["at"]), 0, change(one)) for one in story.changes]
    lines += [(_instant(step["at"]), 1, _step(step)) for step in story.deliveries]
    for _, _, line in sorted(lines, key=lambda item: item[:2]):
        yield line


def _step(step: Record) -> str:
    """What was tried, of the alert itself or of its customer's notification."""
    of = f" (customer {step['customer_id']})" if step.get("customer_id") else ""
    detail = f": {step['detail']}" if step["detail"] else ""
    return (
        f"{_clock(step['at'])}    -> {step['receiver']}: {step['result']} {step['state']} {step['kind']}{of}, "
        f"try {step['attempt']}{_printable(detail)}"
    )


def _say_where_to_silence(loaded: Configuration, labels: Sequence[tuple[str, str]]) -> None:
    """Alertmanager's page for it, of every one that is configured."""
    filters = "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}"
    path = f"/#/silences/new?filter={quote(filters, safe='')}" if labels else "/#/silences"
    for receiver in loaded.alerts.receivers:
        if receiver.type == "alertmanager" and receiver.urls:
            typer.echo(f"silence in Alertmanager: {receiver.urls[0].rstrip('/')}{path}", err=True)


def _gravity(record: Record) -> tuple[bool, int]:
    return record["state"] != "firing", _GRAVITY.get(record["severity"], len(_GRAVITY))


def _clock(instant: str) -> str:
    return _instant(instant).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _echo(content: object) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2))
