"""Events per CPU second of the whole engine on the embedded broker, and what ten times the contacts change.

All that a week's events need is counted: wake-ups, state, publishing, committing, but only the events are divided by
it. Producing and checking happen outside of the process that is measured.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, Final

from schemas.topics import CONTACT_EVENTS, TOPICS
from streams import settings
from streams.transport import open_log, topic_specs
from tests.bench import workload
from tests.bench.child import child
from tests.bench.truth import WrongError, must_hold
from tests.bench.worker import steps
from tests.bench.workload import Told

CONTACTS: Final = 60_000
QUICK_CONTACTS: Final = 5_000
TIMES: Final = 10
Figure = dict[str, Any]


def run(quick: bool) -> Iterator[Figure]:
    """`sqlite_events_per_cpu_second`, and `scaling_10x`: the same figure over that with a tenth of the contacts.

    Both read as many batches, so that a batch has the same hours of a contact's life in it: a contact is assessed
    once in a batch, and with a tenth of the contacts the whole week would fit into one. How much less that costs is
    `ratio_with_batches_alike`; it is catching up that it makes cheap, not few contacts.
    """
    contacts = QUICK_CONTACTS if quick else CONTACTS
    many = _on_sqlite(contacts)
    yield many
    yield _scaling(many, _on_sqlite(contacts // TIMES, share=TIMES), _on_sqlite(contacts // TIMES))


def _on_sqlite(contacts: int, share: int = 1) -> Figure:
    told = workload.week(contacts)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/log.sqlite3"
        asyncio.run(fill(url, told))
        return {**measured("sqlite_events_per_cpu_second", url, told, share), "target": 10_000}


def _scaling(many: Figure, few: Figure, few_at_once: Figure) -> Figure:
    figure: Figure = {"name": "scaling_10x", "unit": "ratio", "target": 0.9, "value": None}
    for one in (many, few, few_at_once):
        if one["value"] is None:
            return {**figure, "error": one["error"]}
    figure |= {"contacts": many["contacts"], "contacts_before": few["contacts"]}
    figure |= {"value": round(many["value"] / few["value"], 2)}
    return {**figure, "ratio_with_batches_alike": round(many["value"] / few_at_once["value"], 2)}


def measured(name: str, url: str, told: Sequence[Told], share: int = 1) -> Figure:
    """The figure of one worker that does all of `told`, in batches of the `share`-th part; its value is None where it
    did not do so rightly."""
    told_by_partition = workload.records(told, workload.transport().partitions)
    with child(
        "tests.bench.worker", url=url, prefix="", configuration=workload.CONFIGURATION.decode(),
        start=workload.START.isoformat(), until=workload.UNTIL.isoformat(), steps=steps(told_by_partition),
        share=share,
    ) as worker:  # fmt: skip
        found = worker.answer()
    figure: Figure = {"name": name, "value": round(len(told) / found["cpu_seconds"]), "unit": "events/CPU s"}
    figure |= {"events": len(told), "contacts": found["contacts"]}
    try:
        figure["records"] = asyncio.run(checked(url, told))
    except WrongError as wrong:
        figure |= {"value": None, "error": str(wrong)}
    return figure


async def fill(url: str, told: Sequence[Told]) -> None:
    """Creates all topics and appends the events."""
    transport = workload.transport()
    client = open_log(url, transport)
    await client.start()
    try:
        await client.ensure_topics(topic_specs(TOPICS, transport), transport.replication_factor)
        for some in workload.slices(told):
            await client.append(CONTACT_EVENTS.name, workload.records(some, transport.partitions))
    finally:
        await client.close()


async def checked(url: str, told: Sequence[Told]) -> int:
    """How many records the worker has handled, wake-ups included. Raises `WrongError`."""
    client = open_log(url, workload.transport())
    await client.start()
    try:
        configuration = settings.parse(workload.CONFIGURATION, file="bench")
        await must_hold(client, "", configuration, [one.value for one in told], workload.UNTIL)
        return sum((await client.end_offsets(CONTACT_EVENTS.name)).values())
    finally:
        await client.close()
