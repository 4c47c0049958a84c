"""Memory of a worker for each contact that is open: what its process grows by when it recovers them all.

The value is resident memory of the process (streams alone), tables, indexes and what the allocator keeps; `table_bytes`
are keys and values of both tables alone.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from streams.commands.running import STREAMS
from tests.bench import workload
from tests.bench.child import child
from tests.bench.throughput import fill

CONTACTS: Final = 100_000
QUICK_CONTACTS: Final = 20_000


def run(quick: bool) -> Iterator[dict[str, Any]]:
    """`bytes_per_open_contact`, on the embedded broker: that of an empty worker is taken off."""
    contacts = QUICK_CONTACTS if quick else CONTACTS
    told = workload.waiting(contacts, workload.START)
    now = workload.START + timedelta(milliseconds=contacts) + timedelta(minutes=1)
    figure: dict[str, Any] = {"name": "bytes_per_open_contact", "unit": "bytes", "contacts": contacts, "target": 2_048}
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/log.sqlite3"
        orders = {"url": url, "configuration": workload.CONFIGURATION.decode(),
                  "now": now.isoformat(), "roles": [STREAMS]}  # fmt: skip
        empty = _life(orders, "stop")
        asyncio.run(fill(url, told))
        _life(orders, "catch up", "stop")
        full = _life(orders, "stop")
    if full["contacts"] != contacts:
        yield {**figure, "value": None, "error": f"recovered {full['contacts']} of {contacts} contacts"}
        return
    figure |= {"value": round((full["ready_bytes"] - empty["ready_bytes"]) / contacts)}
    yield {**figure, "table_bytes": round(full["table_bytes"] / contacts), "measured": "resident memory after recovery"}


def _life(orders: dict[str, Any], *told: str) -> dict[str, Any]:
    """What a worker said when it was ready; then it does what it is told, and ends."""
    with child("tests.bench.system", **orders) as system:
        ready = system.answer()
        for order in told:
            system.tell({"do": order})
            system.answer()
    return ready
