"""Contacts read from the changelog, by a process that holds no partition."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.events import EVENT
from streams import kept
from streams.engine.timeline import Contact, fact_of
from streams.track.state import ContactState, encode_contact
from streams.transport import LogClient, Record, TopicSpec, open_log, partition_for

CHANGELOG = "contacts-changelog"
PARTITIONS = 4


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[LogClient]:
    found = open_log(f"sqlite:///{tmp_path}/log.sqlite3")
    await found.start()
    await found.ensure_topics([TopicSpec(name=CHANGELOG, partitions=PARTITIONS, compacted=True)])
    yield found
    await found.close()


def contact(contact_id: str, customer: str) -> Contact:
    data = {"customer_id": customer, "channel": "ticket"}
    opened = {"specversion": "1.0", "id": contact_id, "source": "/desk", "type": "contact.opened", "data": data,
              "subject": contact_id, "time": "2026-11-16T09:00:00Z"}  # fmt: skip
    return Contact(contact_id, customer, [fact_of(EVENT.validate_python(opened))])


async def keep(
    log: LogClient, contact_id: str, customer: str, *, gone: bool = False, partition: int | None = None
) -> None:
    state = ContactState(contact(contact_id, customer), customer)
    value = None if gone else encode_contact(state, None, ())
    where = partition_for(customer.encode(), PARTITIONS) if partition is None else partition
    await log.append(CHANGELOG, {where: [Record(key=contact_id.encode(), value=value)]})


@pytest.mark.parametrize("customer", ["c-1", None, "somebody-else"])
async def test_a_contact_comes_with_all_others_of_its_customer_whoever_is_named(
    log: LogClient, customer: str | None
) -> None:
    for number in range(20):
        await keep(log, f"T-{number}", f"c-{number % 5}")
    assert sorted(await kept.group_of(log, CHANGELOG, "T-6", customer)) == ["T-1", "T-11", "T-16", "T-6"]


async def test_what_is_not_kept_or_no_longer_is_nobodys(log: LogClient) -> None:
    await keep(log, "T-1", "c-1")
    await keep(log, "T-2", "c-1")
    await keep(log, "T-1", "c-1", gone=True)
    for customer in ("c-1", None):
        assert await kept.group_of(log, CHANGELOG, "T-1", customer) == {}
        assert await kept.group_of(log, CHANGELOG, "T-9", customer) == {}
        assert list(await kept.group_of(log, CHANGELOG, "T-2", customer)) == ["T-2"]


async def test_a_contact_that_changed_its_customer_is_no_longer_with_the_first(log: LogClient) -> None:
    here = partition_for(b"c-1", PARTITIONS)
    await keep(log, "T-1", "c-1")
    await keep(log, "T-2", "c-1")
    await keep(log, "T-1", "c-2", partition=here)
    assert list(await kept.group_of(log, CHANGELOG, "T-2", "c-1")) == ["T-2"]
