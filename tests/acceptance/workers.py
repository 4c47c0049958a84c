"""Workers of `tests.acceptance.worker` as a test has them, and what must be in the log when they are done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from schemas.topics import CONTACT_EVENTS, DEAD_LETTERS, JOURNEYS, OUTCOMES
from streams.track.moving import HOPS
from streams.track.state import decode_contact
from streams.transport import LogClient, open_log
from tests.acceptance.day import Day
from tests.acceptance.worker import GROUPS, behind, transport
from tests.scenarios.expected import Came, unlike

STOP_SECONDS = 20


class Worker:
    """One process."""

    def __init__(
        self, url: str, prefix: str, folder: Path, *options: str, env: Mapping[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-m", "tests.acceptance.worker", url, prefix, str(folder), *options]
        self._log = (folder / "workers.log").open("ab")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, env={**os.environ, **(env or {})}
        )
        self.url = ""

    def hears(self, word: str) -> bool:
        """Whether it says so before it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = line.decode().split()
            if said[0] == "ready":
                self.url = said[1]
            if said[0] == word:
                return True
        return False

    def kill(self) -> None:
        """SIGKILL, by its process id, also where it was stopped."""
        if self.process.poll() is None:
            self.process.kill()
        self._ended()

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_SECONDS)
        self._ended()
        return self.process.returncode

    def _ended(self) -> None:
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


@contextmanager
def worker(
    url: str, prefix: str, folder: Path, *options: str, env: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """A worker that does not outlive the test."""
    running = Worker(url, prefix, folder, *options, env=env)
    try:
        yield running
    finally:
        running.kill()


async def check(url: str, prefix: str, day: Day, *, alerting: bool) -> Came:
    """Everything was committed, outcomes and journeys are a replay's, and no old state was written over new."""
    log = open_log(url, transport(prefix))
    await log.start()
    try:
        groups = GROUPS if alerting else {name: topics for name, topics in GROUPS.items() if "streams" in name}
        late = await behind(log, prefix, groups)
        assert not late, f"not committed: {late}"
        came = Came(
            how="live",
            outcomes=await latest(log, prefix + OUTCOMES.name, "outcome_id"),
            journeys=await latest(log, prefix + JOURNEYS.name, "journey_id"),
            alerts=(),
            refused=await refused(log, prefix + DEAD_LETTERS.name),
        )
        await state_never_falls_back(log, prefix)
        await everything_was_fed(log, prefix, day)
    finally:
        await log.close()
    result = day.replayed()
    want = Came(how="replay", outcomes=result.outcomes, journeys=result.journeys, alerts=(), refused=())
    lines = unlike(came, want, alerts=False)
    assert not lines, "\n".join(lines)
    assert set(came.refused) == {"unknown_type"}
    return came


async def latest(log: LogClient, topic: str, key: str) -> list[dict[str, Any]]:
    """The record that holds of each id."""
    last: dict[str, dict[str, Any]] = {}
    async for batch in log.scan(topic):
        for record in map(orjson.loads, filter(None, batch.values)):
            if record["revision"] >= last.get(record[key], record)["revision"]:
                last[record[key]] = record
    return list(last.values())


async def refused(log: LogClient, topic: str) -> list[str]:
    """The reason of each dead letter."""
    return [dict(headers)["reason"].decode() async for batch in log.scan(topic) for headers in batch.headers]


async def state_never_falls_back(log: LogClient, prefix: str) -> None:
    """What is kept of a contact never has fewer facts than before, nor an earlier revision."""
    known: dict[bytes, tuple[int, int]] = {}
    async for batch in log.scan(f"{prefix}heardback-streams-contacts-changelog"):
        for key, value in zip(batch.keys, batch.values, strict=True):
            assert key is not None
            assert value is not None
            state = decode_contact(value)
            now = len(state.contact.facts), max((last.revision for last in state.published.values()), default=0)
            before = known.get(key, (0, 0))
            assert now[0] >= before[0], f"old state of {key!r} was written over new"
            assert now[1] >= before[1], f"old revisions of {key!r} were written over new"
            known[key] = now
    assert known


async def everything_was_fed(log: LogClient, prefix: str, day: Day) -> None:
    """A feeder that lost something would prove nothing."""
    found = set()
    async for batch in log.scan(prefix + CONTACT_EVENTS.name):
        for value, headers in zip(batch.values, batch.headers, strict=True):
            between_homes = any(name.startswith("heardback.") and name != HOPS for name, _ in headers)
            if value and not between_homes:
                found.add(orjson.loads(value)["id"])
    assert {event["id"] for event in day.events} <= found
