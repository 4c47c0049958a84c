"""One audit from beginning to end: read, judge, look again at what was found.

What is wrong stays wrong: a disagreement is a finding only if it is there in a second, later look too, so that nothing
is called wrong for being on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from pydantic import ValidationError

from schemas.configuration import AlertsSpec, Limits
from schemas.policies import PolicyRecord
from streams.audit.checks import Checks, ReceiversOf, Terms
from streams.audit.finding import Audited
from streams.audit.portions import EVENTS_AT_ONCE, portions, together_with
from streams.audit.topics import Topics
from streams.audit.truth import contacts_of
from streams.audit.view import Cut, Wanted, cut, view
from streams.customers import Customers
from streams.engine.calendar import to_us
from streams.engine.policy import Policies
from streams.promises import IN_FORCE, policies_from
from streams.replay import groups
from streams.transport import LogClient

FIRST_START: Final = "first-start"
LOOK_AGAIN_AFTER_SECONDS: Final = 10.0


class NothingToAudit(ValueError):  # noqa: N818 - the name says what happened
    """Nobody has run on this log yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an audit is asked to look at. `now` is heardback's clock, read for each look; `tolerance_us` how long
    something may be on its way; `receivers_of` names who is to be told of an alert, `gathering_us` which of them get
    one message in so long at most."""

    prefix: str
    alerts: AlertsSpec
    limits: Limits
    receivers_of: ReceiversOf
    now: Callable[[], datetime]
    tolerance_us: int
    gathering_us: Mapping[str, int] = field(default_factory=dict)
    again_after_seconds: float = LOOK_AGAIN_AFTER_SECONDS
    events_at_once: int = EVENTS_AT_ONCE


class _Promises(NamedTuple):
    policies: Policies
    since_us: int
    first_start_us: int


async def audit(client: LogClient, asked: Asked) -> Audited:
    """Look at everything once, and at what was found once more. Raises TransportError, NothingToAudit."""
    topics = Topics.under(asked.prefix)
    missing = {topics.events, topics.contacts_table, *topics.made} - (await client.topics()).keys()
    if missing:
        raise NothingToAudit(f"found no topic {', '.join(sorted(missing))}; has heardback run here?")
    customers = Customers()
    await customers.load(client, topics.customers)
    promises = await _promises(client, topics)
    at = await cut(client, topics)
    found, suspects = Audited(), set[str]()
    for wanted in await portions(client, topics, at, customers.directory, asked.events_at_once):
        checks = await _look(client, topics, at, wanted, asked, promises, customers)
        found.add(checks.found)
        suspects |= checks.suspects
        del checks  # the next portion needs its memory
    if suspects:
        await asyncio.sleep(asked.again_after_seconds)
        await customers.load(client, topics.customers)
        at = await cut(client, topics)
        wanted = await together_with(client, topics, customers.directory, suspects)
        again = await _look(client, topics, at, wanted, asked, promises, customers)
        first = {finding[:3] for finding in found.findings}
        found.only([finding for finding in again.found.findings if finding[:3] in first])
    return found


async def _look(
    client: LogClient, topics: Topics, at: Cut, wanted: Wanted, asked: Asked, promises: _Promises, customers: Customers
) -> Checks:
    seen = await view(client, topics, at, wanted, customers.directory.owner_of)
    from_ = asked.alerts.from_
    terms = Terms(
        policies=promises.policies,
        limits=asked.limits,
        receivers_of=asked.receivers_of,
        now_us=to_us(asked.now()),
        tolerance_us=asked.tolerance_us,
        gathering_us=asked.gathering_us,
        promised_us=promises.since_us,
        alerts_from_us=to_us(from_) if isinstance(from_, datetime) else promises.first_start_us,
    )
    checks = Checks(seen, terms, customers.directory)
    checks.found.events, checks.found.unreadable = seen.events, seen.unreadable
    contacts = contacts_of(seen.contacts, customers.directory, asked.limits)
    for count, group in enumerate(groups(contacts)):
        checks.group(group)
        if count % 200 == 0:
            await asyncio.sleep(0)
    checks.of_nobody()
    return checks


async def _promises(client: LogClient, topics: Topics) -> _Promises:
    """What judges now, since when it does, and when heardback first ran here."""
    records: dict[str, PolicyRecord] = {}
    since_us = first_start_us = 0
    async for batch in client.scan(topics.policies):
        for value, timestamp_ms in zip(batch.values, batch.timestamps_ms, strict=True):
            try:
                record = PolicyRecord.model_validate_json(value or b"")
            except ValidationError:
                continue  # written by nobody of ours
            records[record.hash] = record
            if record.hash == IN_FORCE:
                since_us = timestamp_ms * 1_000
            elif record.hash == FIRST_START:
                first_start_us = to_us(datetime.fromisoformat(record.content["at"]))
    if IN_FORCE not in records:
        raise NothingToAudit("no promises have been published yet; has heardback run here?")
    policies = policies_from(records[IN_FORCE].content, records.values())
    return _Promises(policies, since_us, first_start_us)
