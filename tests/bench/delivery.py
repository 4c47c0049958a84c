"""From the due instant to the request at a receiver: the whole system in one process, many clocks, a thousand at once.

Real clock, embedded broker, a webhook that answers at once. The figure is the 99th percentile over the clocks that
come due within one second while a hundred thousand others run.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.request import Request, urlopen

from streams import settings
from streams.transport import open_log
from tests.bench import workload
from tests.bench.child import Child, child
from tests.bench.throughput import fill
from tests.bench.truth import WrongError, must_hold
from tests.bench.workload import Told
from tests.servers.process import ServerError
from tests.servers.receiver import Receiver
from tests.servers.receiver import Request as Arrived

OPEN: Final = 100_000
QUICK_OPEN: Final = 5_000
DUE: Final = 1_000
QUICK_DUE: Final = 200
TARGET: Final = timedelta(hours=1)
LEAD: Final = timedelta(seconds=8)  # for the last events to be in before anything is due
LONGEST_SECONDS: Final = 120.0


def run(quick: bool) -> Iterator[dict[str, Any]]:
    """`due_to_delivered_p99_seconds`."""
    clocks, due = (QUICK_OPEN, QUICK_DUE) if quick else (OPEN, DUE)
    figure: dict[str, Any] = {"name": "due_to_delivered_p99_seconds", "unit": "s", "target": 2, "clocks": clocks,
                              "due_in_one_second": due}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, Receiver() as receiver:
        orders = {"url": f"sqlite:///{folder}/log.sqlite3", "configuration": _configuration(receiver.url)}
        running = workload.waiting(clocks - due, datetime.now(UTC) - timedelta(seconds=clocks / 1_000))
        asyncio.run(fill(orders["url"], running))
        with child("tests.bench.system", **orders) as system:
            gateway = system.answer()["url"]
            _do(system, "catch up")
            ending = workload.waiting(due, datetime.now(UTC) + LEAD - TARGET, "due")
            _post(gateway, ending)
            with contextlib.suppress(ServerError):  # what is missing is told below
                receiver.wait(lambda requests: len(requests) >= due, seconds=LONGEST_SECONDS)
            _do(system, "catch up")
            until = datetime.now(UTC)
            _do(system, "stop")
        delays = sorted(_delay(request) for request in receiver.accepted)
        wrong = asyncio.run(_wrong(orders, [*running, *ending], until)) or _misdelivered(receiver.accepted, ending)
    if wrong:
        yield {**figure, "value": None, "error": wrong}
        return
    yield {**figure, "value": round(delays[len(delays) * 99 // 100], 3), "median": round(delays[len(delays) // 2], 3),
           "slowest": round(delays[-1], 3)}  # fmt: skip


def _configuration(receiver: str) -> str:
    secret = "whsec_" + base64.b64encode(b"what only the two of us know").decode()
    return f"""\
calendars: {{always: {{always_open: true}}}}
policies: [{{name: desk, calendar: always, targets: {{first_response: {TARGET.seconds // 60}m}}}}]
alerts:
  escalations: [{{after: 0m}}]
  receivers: [{{type: webhook, urls: ["{receiver}"], secret: {secret}}}]
  routes: [{{receivers: [webhook]}}]
"""


def _do(system: Child, order: str) -> None:
    system.tell({"do": order})
    system.answer()


def _post(gateway: str, told: Sequence[Told]) -> None:
    body = b"[" + b",".join(one.value for one in told) + b"]"
    request = Request(gateway + "/v1/events", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as response:
        response.read()


def _delay(request: Arrived) -> float:
    return (request.arrived - datetime.fromisoformat(request.json()["due_at"])).total_seconds()


def _misdelivered(accepted: Sequence[Arrived], ending: Sequence[Told]) -> str | None:
    """Each clock that came due, and no other, must have been paged once."""
    paged = Counter(request.json()["contact_id"] for request in accepted)
    wanted = {"T-" + one.customer_id for one in ending}
    if paged == Counter(wanted):
        return None
    return f"{len(wanted - paged.keys())} not paged, {len(paged.keys() - wanted)} paged wrongly, {paged.total()} pages"


async def _wrong(orders: dict[str, str], told: Sequence[Told], until: datetime) -> str | None:
    client = open_log(orders["url"], workload.transport())
    await client.start()
    try:
        configuration = settings.parse(orders["configuration"].encode(), file="bench")
        await must_hold(client, "", configuration, [one.value for one in told], until)
    except WrongError as wrong:
        return str(wrong)
    finally:
        await client.close()
    return None
