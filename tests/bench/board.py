"""The board with 5,000 customers waiting: catching up, ranking them, a page, a change; and what it costs a browser.

Real log, real HTTP, real Chromium. A figure counts only if the page shows the rows that it must: the first of all,
in order. CPU time of this process where it says so; what the browser does is told by the browser itself.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import orjson
import structlog
from playwright.async_api import CDPSession, Page

from schemas.customers import Customer
from schemas.topics import ALERTS, JOURNEYS, OUTCOMES, POLICIES, TOPICS, Topic
from streams.board import Board
from streams.customers import Customers
from streams.gateway import Gateway, Listen, Liveness, Readiness, Server, create_http
from streams.gateway.view import PAGE_ROWS
from streams.promises import in_force_record, records_of
from streams.transport import LogClient, Record, TransportSettings, by_partition, open_log, topic_specs
from tests.bench.truth import WrongError
from tests.servers.chromium import chromium, missing
from tests.streams.board.records import CONFIGURATION, MONDAY, alert, answered, at, attempt, journey, outcome

WAITING: Final = 5_000
QUICK_WAITING: Final = 500
ENDED_EACH: Final = 4  # for each customer who waits, so many contacts that were answered
ROUNDS: Final = 20
PARTITIONS: Final = 4


def run(quick: bool) -> Iterator[dict[str, Any]]:
    """Every figure of the board."""
    waiting = QUICK_WAITING if quick else WAITING
    with structlog.testing.capture_logs():  # standard output is for figures
        figures = asyncio.run(_measured(waiting))
    for name, value, unit, also in figures:
        yield {"name": name, "value": value, "unit": unit, "waiting": waiting, **also}


_Figure = tuple[str, float | None, str, dict[str, Any]]


async def _measured(waiting: int) -> list[_Figure]:
    figures: list[_Figure] = []
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        log = open_log(f"sqlite:///{folder}/log.sqlite3")
        await log.start()
        stack.push_async_callback(log.close)
        records = await _fill(log, waiting)
        seconds, known = [0.0], _directory(waiting)
        board = Board(
            lambda: log,
            str,
            lambda: known,
            now=lambda: MONDAY + timedelta(hours=2),
            monotonic=lambda: seconds[0] + time.monotonic(),
        )
        stack.push_async_callback(board.stop)
        began = time.process_time()
        board.start()
        await board.wait_caught_up()
        spent = time.process_time() - began
        figures.append(("board_catch_up_records_per_cpu_second", round(records / spent), "1/s", {"records": records}))

        async def stand() -> None:
            seconds[0] += 1  # another second: nothing is kept from before
            if len((await board.standing()).ranked) != waiting:
                raise WrongError(f"{len((await board.standing()).ranked)} stand there, wanted {waiting}")

        figures.append(("board_standing_ms", await _cpu_ms(stand), "ms", {"cpu": True}))
        server = Server(create_http(_gateway(board), Listen()))
        await server.start()
        stack.push_async_callback(server.stop)
        async with aiohttp.ClientSession(server.url) as client:
            figures += await _served(client, seconds)
        if missing() is None:
            figures += await _browsed(server.url, log, board, waiting)
        else:
            figures += [(name, None, "ms", {"error": missing()}) for name in BROWSED]
    return figures


async def _served(client: aiohttp.ClientSession, seconds: list[float]) -> list[_Figure]:
    async def page(again: bool) -> int:
        seconds[0] += 1 if again else 0
        async with client.get("/") as response:
            text = await response.text()
            if text.count("data-customer=") != PAGE_ROWS:
                raise WrongError(f"{text.count('data-customer=')} rows, wanted {PAGE_ROWS}")
            return len(text)

    async def anew() -> None:
        await page(True)

    async def same() -> None:
        await page(False)

    size = await page(True)
    return [
        ("board_page_ms", await _cpu_ms(anew), "ms", {"cpu": True, "rows": PAGE_ROWS, "bytes": size}),
        ("board_page_again_ms", await _cpu_ms(same), "ms", {"cpu": True, "about": "within the same second"}),
    ]


BROWSED: Final = ("board_browser_load_ms", "board_browser_apply_ms", "board_told_to_seen_ms")


async def _browsed(url: str, log: LogClient, board: Board, waiting: int) -> list[_Figure]:
    async with chromium() as tab:
        loads = []
        for _ in range(5):
            await tab.page.goto(url, wait_until="load")
            loads.append(await tab.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
        await tab.page.wait_for_function("document.getElementById('connection').textContent.startsWith('live')")
        devtools = await tab.page.context.new_cdp_session(tab.page)
        await devtools.send("Performance.enable")
        seen_ms, before = [], await _busy_ms(devtools)
        for number in range(ROUNDS):
            seen_ms.append(await _seen_ms(tab.page, log, number))
        busy_ms = await _busy_ms(devtools) - before
        if tab.complaints:
            raise WrongError(f"the browser complains: {tab.complaints[:3]}")
        shown = await tab.page.evaluate("[...document.querySelectorAll('#rows tr')].map((row) => row.dataset.customer)")
    newest = [f"urgent-{number}" for number in reversed(range(ROUNDS))]
    if shown[:ROUNDS] != newest or len(shown) != PAGE_ROWS or len(board.waiting.entries) != waiting + ROUNDS:
        raise WrongError(f"the page shows {shown[:3]} first, {len(shown)} rows, wanted {newest[:3]} and {PAGE_ROWS}")
    about = "script, style and layout on the main thread"
    return [
        (BROWSED[0], round(statistics.median(loads), 1), "ms", {"rows": PAGE_ROWS}),
        (BROWSED[1], round(busy_ms / ROUNDS, 2), "ms", {"about": about}),
        (BROWSED[2], round(statistics.median(seen_ms), 1), "ms", {"about": "from the record to the row; ticks of 1 s"}),
    ]


async def _seen_ms(page: Page, log: LogClient, number: int) -> float:
    """From a record on the topic to its row at the top of the page; the whole order moves by one."""
    customer = f"urgent-{number}"
    began = time.monotonic()
    await _write(log, OUTCOMES, [outcome(f"U-{number}", customer, started_at=at(-500), due_at=at(-400 - number))])
    await page.wait_for_selector(f"#rows tr[data-customer={customer}]:first-child", state="attached")
    return (time.monotonic() - began) * 1_000


async def _busy_ms(devtools: CDPSession) -> float:
    metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
    found = {one["name"]: one["value"] for one in metrics}
    return 1_000 * float(found["ScriptDuration"] + found["LayoutDuration"] + found["RecalcStyleDuration"])


async def _cpu_ms(work: Callable[[], Awaitable[None]]) -> float:
    """CPU time of this process, the median of some rounds."""
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        await work()
        spent.append(1_000 * (time.process_time() - began))
    return round(statistics.median(spent), 2)


async def _fill(log: LogClient, waiting: int) -> int:
    """Topics as they are after a busy month: who waits, and several times as many who were answered."""
    await log.ensure_topics(topic_specs(TOPICS, TransportSettings(partitions=PARTITIONS)))
    policies = [
        record.model_dump(mode="json") for record in [*records_of(CONFIGURATION), in_force_record(CONFIGURATION)]
    ]
    await _write(log, POLICIES, policies)
    outcomes, journeys, alerts = [], [], []
    for number in range(waiting):
        customer, due = f"c-{number}", at(-200 + 400 * number / waiting)
        for contact in range(ENDED_EACH):
            over = outcome(f"E-{number}-{contact}", customer)
            outcomes += [over, answered(over)]
        named = (f"T-{number}", customer)
        for target in ("acknowledgement", "first_response"):
            outcomes.append(outcome(*named, target=target, started_at=at(-300), due_at=due, queue=f"q-{number % 20}"))
        channel = ("ticket", "chat", "email")[number % 3]
        journeys.append(
            journey(customer, attempt(f"T-{number}", channel, -300), attempt(f"S-{number}", "social", -250))
        )
        if number < waiting / 2:
            alerts.append(alert("breach", *named, alert_id=f"a-{number}"))
    await _write(log, OUTCOMES, outcomes)
    await _write(log, JOURNEYS, journeys)
    await _write(log, ALERTS, alerts)
    return len(policies) + len(outcomes) + len(journeys) + len(alerts)


async def _write(log: LogClient, topic: Topic, contents: list[dict[str, Any]]) -> None:
    some = [Record(key=one.get("customer_id", "").encode(), value=orjson.dumps(one)) for one in contents]
    await log.append(topic.name, by_partition(some, PARTITIONS if topic.partitioned else 1))


def _directory(waiting: int) -> Customers:
    known = Customers()
    for number in range(waiting):
        name, owner = f"Customer number {number}", f"owner-{number % 50}@example.com"
        customer = Customer(customer_id=f"c-{number}", name=name, tier=("gold", "silver")[number % 2], owner=owner,
                            annual_value=1_000 + number, currency="GBP")  # fmt: skip
        known.put(customer, 0)
    return known


def _gateway(board: Board) -> Gateway:
    async def nothing(*_: object) -> None:
        """Nobody publishes here, and nothing is explained."""

    return Gateway(
        publish=nothing,
        customer_of=lambda _: None,
        ready=Readiness,
        alive=lambda: Liveness(stalled_seconds=0.0, limit_seconds=60.0),
        explain=nothing,  # type: ignore[arg-type]
        metrics=lambda: (b"", "text/plain"),
        board=board,
        now=lambda: datetime.now(UTC),
    )
