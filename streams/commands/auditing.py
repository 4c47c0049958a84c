"""`heardback audit`, and the same again and again beside `heardback run`: in a process of its own.

An audit that fails, hangs or dies is seen by the age of its metric and takes nothing else down. What is compared is in
`streams.audit`.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from alerting.notify import Routes
from alerting.receivers import digest_seconds
from schemas.configuration import Configuration
from schemas.health import Health
from schemas.topics import HEALTH
from streams import settings
from streams.audit import KINDS, Asked, Audited, audit
from streams.commands.arguments import wrong
from streams.engine.calendar import SECOND_US
from streams.transport import LogClient, Record, TransportError, open_log, partition_for
from streams.transport.sqlite import SqliteLog, path_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AUDIT: Final = "audit"
"""The role of a worker that does nothing else."""
LONGEST_SECONDS: Final = 1_800.0
"""An audit that takes longer is ended: it hangs."""
NICENESS: Final = 10
"""Whoever waits for a page goes first."""
SHOWN: Final = 100
"""Findings that one run logs, each as an event; all are counted."""

log = structlog.get_logger(__name__)

Told = Callable[[Mapping[str, int]], Awaitable[None]]


# -- one audit ---------------------------------------------------------------------------------------------


def run(url: str, configuration: Configuration, at: datetime | None) -> dict[str, Any]:
    """One audit of the log at `url` as if it were `at` (None: now), as JSON, with how long it took and the most memory
    that the process had. Raises TransportError, NothingToAudit, OSError."""
    begun = time.monotonic()
    found = asyncio.run(_audit(url, configuration, lambda: at or datetime.now(UTC)))
    return {**found.to_json(), "seconds": round(time.monotonic() - begun, 3), "peak_bytes": _peak_bytes()}


def _peak_bytes() -> int:
    """The most memory that this process had. Linux counts what its parent had before it in `ru_maxrss`."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    peak = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return int(peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1_024


async def _audit(url: str, configuration: Configuration, now: Callable[[], datetime]) -> Audited:
    asked = Asked(
        prefix=configuration.broker.topic_prefix,
        alerts=configuration.alerts,
        limits=configuration.limits,
        receivers_of=receivers_of(configuration),
        now=now,
        tolerance_us=configuration.audit.tolerance.seconds * SECOND_US,
        gathering_us={one.name: int(digest_seconds(one) * SECOND_US) for one in configuration.alerts.receivers},
    )
    async with _opened(url, configuration) as client:
        return await audit(client, asked)


def receivers_of(configuration: Configuration) -> Callable[[Mapping[str, Any], str | None], Sequence[str]]:
    """Who is to be told of an alert, by the configured routes."""

    @cache
    def routes_for(owner: str | None) -> Routes:
        return Routes(configuration.alerts, lambda _: owner)

    return lambda alert, owner: routes_for(owner).receivers(alert)


@asynccontextmanager
async def _opened(url: str, configuration: Configuration) -> AsyncIterator[LogClient]:
    """A started client; the embedded log is only looked into, beside the process that serves it."""
    client: LogClient
    if url.startswith("sqlite:"):
        if not path_of(url).exists():
            wrong(f"found no log at {path_of(url)}, wanted the --data or --broker that heardback has run on")
        client = SqliteLog(path_of(url), read_only=True)
    else:
        try:
            client = open_log(url, settings.transport_of(configuration))
        except TransportError as unusable:
            wrong(unusable)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


def text(found: Mapping[str, Any]) -> str:
    """One line for each finding, and one for how much was looked at."""
    lines = [
        f"{one['kind']} {one['contact']} {one['clock']}: expected {one['expected']}; found {one['found']}"
        for one in found["findings"]
    ]
    looked = (
        f"{found['clocks']} clocks of {found['contacts']} contacts and {found['alerts']} firing alerts against "
        f"{found['events']} events in {found['seconds']:g} s: {len(lines) or 'no'} "
        f"{'finding' if len(lines) == 1 else 'findings'}"
    )
    details = [f"{count} {why.replace('_', ' ')}" for why, count in sorted(found["unjudged"].items())]
    lines.append(looked + (f"; not judged: {', '.join(details)}" if details else ""))
    return "\n".join(lines)


# -- again and again ---------------------------------------------------------------------------------------


class Metrics:
    """What the last audit came to, in the registry that is handed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"responsiveness_audit_{name}", about, labels, registry=registry)

        # Anything but 0: heardback's own books disagree; the log and `heardback audit` name what.
        self.findings = gauge("findings", "Disagreements that the last self-audit found, by kind.", "kind")
        # Older than a few intervals: nobody audits.
        self.last_run = gauge("last_run_timestamp_seconds", "When the last self-audit ended; 0: none has yet.")
        self.duration = gauge("duration_seconds", "How long the last self-audit took.")
        self.peak = gauge("peak_memory_bytes", "The most memory that the process of the last self-audit had.")
        # Many beyond the log: it is kept for too short a time to be audited.
        self.contacts = gauge("contacts", "Contacts of the last self-audit, judged or the reason why not.", "state")
        self.failures = Counter(
            "responsiveness_audit_failures", "Self-audits that did not come to an end.", registry=registry
        )
        for kind in KINDS:
            self.findings.labels(kind).set(0)

    def heard(self, found: Mapping[str, Any], at: float) -> None:
        """An audit has ended."""
        for kind in KINDS:
            self.findings.labels(kind).set(found["counts"].get(kind, 0))
        self.contacts.clear()
        for state, count in {"judged": found["contacts"], **found["unjudged"]}.items():
            self.contacts.labels(state).set(count)
        self.last_run.set(at)
        self.duration.set(found["seconds"])
        self.peak.set(found["peak_bytes"])


class Auditor:
    """Starts an audit every `every_seconds`, each in a process of its own, and says what it found. `told` hears the
    counts of each that are not nought; `arguments` are those of `heardback audit`."""

    def __init__(
        self,
        arguments: Sequence[str],
        every_seconds: float,
        registry: CollectorRegistry,
        told: Told,
        longest_seconds: float = LONGEST_SECONDS,
    ) -> None:
        self.metrics = Metrics(registry)
        self._command = [sys.executable, "-m", "streams", "audit", *arguments, "--format", "json"]
        self._every_seconds = every_seconds
        self._told = told
        self._longest_seconds = longest_seconds

    async def run(self) -> None:
        """Audit for ever. What goes wrong is counted and logged, and tried again the next time."""
        while True:
            await asyncio.sleep(self._every_seconds)
            await self.once()

    async def once(self) -> None:
        """One audit."""
        try:
            found = await self._in_a_process()
        except Exception as failed:  # noqa: BLE001 - whatever it is, nothing else goes down with it
            self.metrics.failures.inc()
            log.error("audit_failed", error=type(failed).__name__, detail=str(failed)[:500])
            return
        self.metrics.heard(found, time.time())
        counts = {kind: count for kind, count in found["counts"].items() if count}
        looked = {name: found[name] for name in ("events", "contacts", "clocks", "alerts", "seconds")}
        log.info("audited", findings=sum(counts.values()), **looked)
        for finding in found["findings"][:SHOWN]:
            log.error("audit_finding", **finding)
        try:
            await self._told(counts)
        except TransportError as away:
            log.error("audit_not_told", detail=str(away))

    async def _in_a_process(self) -> dict[str, Any]:
        child = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._longest_seconds):
                said, complained = await child.communicate()
        finally:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        if child.returncode not in (0, 1) or not said:
            raise ValueError(f"status {child.returncode}: {complained.decode(errors='replace').strip()[-400:]}")
        found: dict[str, Any] = orjson.loads(said)
        return found


def telling(
    client: Callable[[], Awaitable[LogClient]], prefix: str, partitions: int, now: Callable[[], datetime]
) -> Told:
    """Writes topic `health` after each audit: blind with findings, seeing without."""

    async def told(counts: Mapping[str, int]) -> None:
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        said = Health(
            cause="audit",
            state="blind" if counts else "sees",
            at=now(),
            summary=f"the self-audit found {found}; heardback audit names them." if counts else "",
        )
        key = said.cause.encode()
        record = Record(key=key, value=said.model_dump_json().encode())
        await (await client()).append(prefix + HEALTH.name, {partition_for(key, partitions): [record]})

    return told


def arguments(broker: str | None, data: Path, config: Path) -> list[str]:
    """Of the audit beside a process that was started with these."""
    place = ["--broker", broker] if broker is not None else ["--data", str(data)]
    return [*place, "--config", str(config)]
