"""After a start, what was published and not kept is known, and nothing that was kept is read for it."""

from __future__ import annotations

import orjson

from streams.track.unkept import BACK_AT_ONCE, Unkept, unkept
from streams.transport import Batch, Record
from tests.streams.track.steered import Log

MANY = 3 * BACK_AT_ONCE
TOPICS = ("outcomes", "journeys")


class Counted(Log):
    """Counts the records that are read of it."""

    def __init__(self) -> None:
        super().__init__(partitions=1)
        self.records_read = 0

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1000) -> Batch | None:
        batch = await super().read(topic, partition, offset, max_records)
        self.records_read += len(batch) if batch is not None else 0
        return batch


def outcome(contact: str) -> Record:
    return Record(
        key=b"c-1",
        value=orjson.dumps({"contact_id": contact, "customer_id": "c-1", "target": "resolution", "cycle": 1}),
    )


async def published(*ends: int, count: int = MANY) -> Counted:
    """A log to which one batch after another, each up to such an end, published so many outcomes."""
    log, marking = Counted(), Unkept()
    for end in ends:
        records = [outcome(f"T-{end}-{number}") for number in range(count)]
        await log.send("outcomes", {0: marking.marked(records, end)}, fence=None)
    return log


async def test_when_everything_was_kept_the_last_records_say_so() -> None:
    log = await published(10, 20)
    assert (await unkept(log, 0, 20, *TOPICS)).outcomes == {}
    assert log.records_read <= BACK_AT_ONCE


async def test_of_a_batch_that_was_not_kept_every_record_is_known_and_of_the_one_before_none() -> None:
    log = await published(10, 20)
    found = await unkept(log, 0, 10, *TOPICS)
    assert set(found.outcomes) == {f"T-20-{number}" for number in range(MANY)}
    assert {told.reach for told in found.outcomes.values()} == {20}
    assert log.records_read <= MANY + 2 * BACK_AT_ONCE


async def test_of_a_batch_whose_sending_was_cut_off_every_record_that_is_there_is_known() -> None:
    log = await published(10, 20)
    del log.topics["outcomes"][0][-700:]
    found = await unkept(log, 0, 10, *TOPICS)
    assert set(found.outcomes) == {f"T-20-{number}" for number in range(MANY - 700)}


async def test_one_record_alone_is_marked_once() -> None:
    log = await published(10, 20, count=1)
    assert set((await unkept(log, 0, 10, *TOPICS)).outcomes) == {"T-20-0"}
    assert (await unkept(log, 0, 20, *TOPICS)).outcomes == {}
