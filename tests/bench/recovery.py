"""How long a worker with many open contacts needs from its start until it is ready to page, on a real Kafka.

Wall seconds, of streams and alerting together: tables read, everything in the log folded. Beside it a stock Faust
table of a tenth of the keys, its time taken ten times.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from schemas.events import WAKE_UP
from schemas.topics import CONTACT_EVENTS
from streams import settings
from streams.app import APP_ID
from streams.transport import open_log
from tests.bench import workload
from tests.bench.child import child
from tests.bench.throughput import fill
from tests.bench.truth import WrongError, must_hold
from tests.bench.workload import Told
from tests.servers.kafka import Kafka

CONTACTS: Final = 250_000
QUICK_CONTACTS: Final = 10_000
PEER_SHARE: Final = 10


def run(quick: bool) -> Iterator[dict[str, Any]]:
    """`recovery_seconds`."""
    contacts = QUICK_CONTACTS if quick else CONTACTS
    told = workload.waiting(contacts, workload.START)
    now = workload.START + timedelta(milliseconds=contacts) + timedelta(minutes=1)
    figure: dict[str, Any] = {"name": "recovery_seconds", "unit": "s", "contacts": contacts, "target": 20}
    with tempfile.TemporaryDirectory() as folder, Kafka(Path(folder)) as kafka:
        asyncio.run(fill(kafka.url, told))
        orders = {"url": kafka.url, "configuration": workload.CONFIGURATION.decode(), "now": now.isoformat()}
        with child("tests.bench.system", **orders) as system:
            system.answer()
            system.tell({"do": "catch up"})
            system.answer()
            system.tell({"do": "stop"})
            system.answer()
        with child("tests.bench.system", **orders) as system:
            found = system.answer()
            system.tell({"do": "stop"})
            system.answer()
        figure |= {"value": round(found["ready_seconds"], 2), "cpu_seconds": round(found["ready_cpu_seconds"], 2)}
        if wrong := asyncio.run(_wrong(kafka.url, told, now, found["contacts"])):
            yield {**figure, "value": None, "error": wrong}
            return
        with child(
            "tests.bench.faust_peer", url=kafka.url, bootstrap=kafka.bootstrap, count=contacts // PEER_SHARE,
            changelog=f"{APP_ID}-contacts-changelog",
        ) as peer:  # fmt: skip
            theirs = peer.answer()
    figure |= _beside(theirs["seconds"] * PEER_SHARE, figure["value"])
    if not theirs["keys"] == theirs["copied"] == contacts // PEER_SHARE:
        figure |= {"baseline": None, "ratio": None, "error": f"stock Faust recovered {theirs['keys']} keys"}
    yield figure


def _beside(baseline: float, value: float) -> dict[str, Any]:
    against = f"stock Faust table, 1/{PEER_SHARE} of the keys, times {PEER_SHARE}"
    return {"baseline": round(baseline, 1), "ratio": round(baseline / value, 2), "against": against}


async def _wrong(url: str, told: list[Told], now: Any, contacts: int) -> str | None:
    if contacts != len(told):
        return f"recovered {contacts} of {len(told)} contacts"
    client = open_log(url, workload.transport())
    await client.start()
    try:
        configuration = settings.parse(workload.CONFIGURATION, file="bench")
        await must_hold(client, "", configuration, [one.value for one in told], now)
        woken = 0
        async for batch in client.scan(CONTACT_EVENTS.name):
            woken += sum(value is not None and WAKE_UP.encode() in value for value in batch.values)
        return f"found {woken} wake-ups" if woken else None
    except WrongError as wrong:
        return str(wrong)
    finally:
        await client.close()
