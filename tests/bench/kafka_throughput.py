"""Events per CPU second of one process with the whole engine on a real Kafka, beside quixstreams in the same run.

The peer does much less (see `quix_peer`), on the same topic of the same broker.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from schemas.topics import CONTACT_EVENTS
from streams.transport import open_log
from tests.bench import workload
from tests.bench.child import child
from tests.bench.throughput import CONTACTS, QUICK_CONTACTS, Figure, fill, measured
from tests.bench.workload import Told
from tests.servers.kafka import Kafka

GROUP: Final = "bench-quixstreams"
ANSWERS: Final = "bench-answers"


def run(quick: bool) -> Iterator[Figure]:
    """`kafka_events_per_cpu_second`."""
    told = workload.week(QUICK_CONTACTS if quick else CONTACTS)
    with tempfile.TemporaryDirectory() as folder, Kafka(Path(folder)) as kafka:
        asyncio.run(fill(kafka.url, told))
        with child(
            "tests.bench.quix_peer", bootstrap=kafka.bootstrap, topic=CONTACT_EVENTS.name, count=len(told),
            group=GROUP, answers=ANSWERS,
        ) as peer:  # fmt: skip
            theirs = len(told) / peer.answer()["cpu_seconds"]
        wrong = asyncio.run(_peer_is_wrong(kafka.url, told))
        figure = measured("kafka_events_per_cpu_second", kafka.url, told)
    figure |= {"baseline": round(theirs), "against": "quixstreams, first answers only", "target": "ratio >= 1.0"}
    if wrong or figure["value"] is None:
        yield {**figure, "value": None, "ratio": None, "error": figure.get("error") or wrong}
    else:
        yield {**figure, "ratio": round(figure["value"] / theirs, 2)}


async def _peer_is_wrong(url: str, told: Sequence[Told]) -> str | None:
    """The peer must have said each first answer once, and committed the ends of what it was given."""
    client = open_log(url, workload.transport())
    await client.start()
    try:
        said = sum((await client.end_offsets(ANSWERS)).values())
        committed = sum((await client.committed(GROUP, CONTACT_EVENTS.name)).values())
    finally:
        await client.close()
    answered = sum(b'"message.sent"' in one.value for one in told)
    if said != answered or committed != len(told):
        return f"quixstreams said {said} of {answered} answers and committed {committed} of {len(told)} events"
    return None
