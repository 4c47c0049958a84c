"""`heardback demo`: the whole system on a fast clock, seen from outside like any user sees it.

What is printed was read back from topic `alerts` and over HTTP; the sample is in `streams.demo`.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import aiohttp
import orjson
import yaml

from schemas.customers import Customer
from schemas.topics import ALERTS
from streams import settings
from streams.commands import reporting
from streams.commands.running import Place, System
from streams.demo import sample
from streams.reports import Week

SECONDS: Final = 42.0
TICK_SECONDS: Final = 0.05
KNOW_EVERY_SECONDS: Final = 0.2
REPORT_SECONDS_MAX: Final = 10.0
SHOWN: Final = ZoneInfo("Europe/London")
EXPLAINED: Final = "T-2077"
JOURNEY: Final = "alba-freight"
_MARKS: Final = {"warning": "at risk ", "page": "PAGE    ", "critical": "CRITICAL"}
_WORST: Final = re.compile(r'responsiveness_worst_wait_seconds\{customer_id="([^"]*)"\} (\S+)')
_COUNTED: Final = re.compile(r"responsiveness_(outcomes|alerts|events)_total\{([^}]*)\} (\S+)")


class FastClock:
    """`start` when it is set going, then the sample's days in `seconds`, then on at the real speed."""

    def __init__(self, start: datetime, end: datetime, seconds: float, monotonic: Callable[[], float]) -> None:
        self._start, self._end, self._seconds, self._monotonic = start, end, seconds, monotonic
        self._since: float | None = None

    def go(self) -> None:
        """Time begins to pass."""
        self._since = self._monotonic()

    def __call__(self) -> datetime:
        if self._since is None:
            return self._start
        passed = self._monotonic() - self._since
        played = self._start + (self._end - self._start) * min(1.0, passed / self._seconds)
        return played + timedelta(seconds=max(0.0, passed - self._seconds))


async def run(data: Path, *, port: int, leave: bool, seconds: float = SECONDS) -> None:
    """Play the sample; return afterwards (`leave`) or stay until cancelled. Raises TransportError."""
    clock = FastClock(sample.STARTS, sample.ENDS, seconds, time.monotonic)
    configuration = settings.parse(sample.text("heardback.yaml").encode(), file="streams/demo/heardback.yaml")
    facts_url = reporting.store_url(configuration.facts, data)
    place = Place(broker_url=f"sqlite:///{data / 'log.sqlite3'}", port=port, facts_url=facts_url)
    system = System(
        place, configuration, now=clock, wake_every_seconds=TICK_SECONDS, know_every_seconds=KNOW_EVERY_SECONDS
    )
    try:
        await system.start()
        await system.wait_ready()
        assert system.streams is not None
        await system.streams.put_customers(_customers())
        async with aiohttp.ClientSession(system.url) as http:
            await _play(system, clock, http, seconds)
            await _summary(system, http)
            await _report(system, http)
            if not leave:
                say("\nIt runs on at the real speed. Ctrl-C ends it.")
                await asyncio.Event().wait()
    finally:
        await system.stop()


def _customers() -> list[Customer]:
    return [Customer.model_validate(record) for record in yaml.safe_load(sample.text("customers.yaml"))]


async def _play(system: System, clock: FastClock, http: aiohttp.ClientSession, seconds: float) -> None:
    say(f"Who is waiting, live: {system.url}/  (metrics: {system.url}/metrics)")
    say(f"Playing {sample.STARTS:%a %d %b} to {sample.ENDS:%a %d %b %Y} in about {seconds:.0f} seconds.\n")
    events = sample.events()
    reading = asyncio.create_task(_read_alerts(system))
    clock.go()
    day = sample.STARTS.date()
    try:
        while events or clock() < sample.ENDS:
            now = clock()
            due = [value for at, value in events if at <= now]
            if due:
                await _post(http, due)
                events = events[len(due) :]
            if now.date() != day and now.astimezone(SHOWN).hour >= 9:
                day = now.date()
                await _who_waits(http, clock)
            if reading.done():
                reading.result()
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.sleep(1.0)
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading


async def _post(http: aiohttp.ClientSession, events: list[bytes]) -> None:
    body = b"[" + b",".join(events) + b"]"
    async with http.post("/v1/events", data=body, headers={"Content-Type": "application/json"}) as answer:
        if answer.status != 202:
            raise RuntimeError(f"POST /v1/events answered {answer.status}: {await answer.text()}")


async def _read_alerts(system: System) -> None:
    client = await system.client()
    async for batch in client.follow(ALERTS.name):
        for value in batch.values:
            if value is not None:
                say(alert_line(orjson.loads(value)))


def alert_line(alert: dict[str, Any]) -> str:
    """An alert for the terminal: local time, how bad, what, and the sentence of the record."""
    at = datetime.fromisoformat(alert["at"]).astimezone(SHOWN)
    if alert["state"] == "resolved":
        mark, what = "resolved", f"{alert['kind']} {alert['contact_id']} ({alert['target'] or 'journey'}): "
        return f"{at:%a %d %b %H:%M}  {mark}  {what}{alert['resolution']}"
    return (
        f"{at:%a %d %b %H:%M}  {_MARKS[alert['severity']]}  {alert['kind']} {alert['contact_id']}: {alert['summary']}"
    )


async def _who_waits(http: aiohttp.ClientSession, clock: FastClock) -> None:
    """Who waits, from the worst few that /metrics names; to the hour, since the clock is fast."""
    async with http.get("/metrics") as answer:
        page = await answer.text()
    now = clock().astimezone(SHOWN)
    waits = sorted(((float(seconds), name) for name, seconds in _WORST.findall(page)), reverse=True)[:4]
    listed = ", ".join(f"{name} since {now - timedelta(seconds=seconds):%a %d %b %H}h" for seconds, name in waits)
    say(f"{now:%a %d %b %H:%M}  waiting   {listed or 'nobody'}")


async def _summary(system: System, http: aiohttp.ClientSession) -> None:
    async with http.get("/metrics") as answer:
        page = await answer.text()
    totals: Counter[str] = Counter()
    for name, labels, value in _COUNTED.findall(page):
        found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        key = found.get("verdict") or found.get("result") or f"{found.get('kind')} {found.get('state')}"
        totals[f"{name} {key}"] += int(float(value))
    say("\nWhat it came to (from /metrics):")
    for key in sorted(totals):
        say(f"  {key:32} {totals[key]:>5}")
    say(f"\nFour doors in six days: {system.url}/customers/{quote(JOURNEY, safe='')}")
    say(f"Why {EXPLAINED} was late: {system.url}/contacts/{quote(EXPLAINED, safe='')}")
    async with http.get(f"/contacts/{quote(EXPLAINED, safe='')}", params={"format": "json"}) as answer:
        if answer.status == 200:
            say(f"  {_in_short(await answer.json())}")


async def _report(system: System, http: aiohttp.ClientSession) -> None:
    """The first week's report, as soon as the facts have come to its end."""
    week = Week.holding(sample.STARTS, time_zone=SHOWN.key)
    say(f"\nThe report of week {week.name}: {system.url}/reports/{week.name}")
    deadline = time.monotonic() + REPORT_SECONDS_MAX
    while time.monotonic() < deadline:
        async with http.get(f"/reports/{week.name}", params={"format": "json"}) as answer:
            found = await answer.json()
        if answer.status == 200 and found["complete"]:
            say(f"  {found['headline']}")
            return
        await asyncio.sleep(TICK_SECONDS)


def _in_short(explanation: dict[str, Any]) -> str:
    clocks = explanation.get("clocks", [])
    return "; ".join(f"{c['target']} {c['verdict']} ({c['reason']})" for c in clocks) or "no clock"


def say(line: str) -> None:
    """One line for the newcomer."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
