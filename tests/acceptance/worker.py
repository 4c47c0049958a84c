"""heardback as a process that is meant to be killed: `python -m tests.acceptance.worker URL PREFIX FOLDER`.

It feeds the events of the folder's file (with `--feed`), going on where it was stopped, and says `ready` once its
tables are recovered, `quiet` once everything has been handled. `--die STEP:N` ends it right after a step of applying
a batch was taken for the Nth time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Final

import orjson
import structlog

from schemas.customers import Customer
from schemas.topics import CONTACT_EVENTS, DELIVERIES, JOURNEYS, OUTCOMES
from streams import settings
from streams.commands.running import ALERTING, STREAMS, Place, System
from streams.commands.stopping import run_until_stopped
from streams.engine.calendar import to_us
from streams.transport import LogClient, TransportSettings, by_partition
from tests.acceptance.day import record_of
from tests.servers.process import free_ports

PARTITIONS: Final = 3
CHUNK: Final = 25
LOOKS_QUIET: Final = 3
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "heardback-streams": (CONTACT_EVENTS.name,),
    "heardback-alerting": (OUTCOMES.name, JOURNEYS.name, DELIVERIES.name),
}


def transport(prefix: str) -> TransportSettings:
    """Sessions are as short as a loaded machine bears, for each kill costs one."""
    return TransportSettings(
        topic_prefix=prefix, partitions=PARTITIONS, batch_records=60, commit_interval_seconds=0.05,
        session_timeout_seconds=3.0, request_timeout_seconds=2.5,
    )  # fmt: skip


async def behind(log: LogClient, prefix: str, groups: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Topics whose ends have not been committed by their groups."""
    found = []
    for group, topics in groups.items():
        for topic in topics:
            ends = {number: end for number, end in (await log.end_offsets(prefix + topic)).items() if end}
            committed = dict(await log.committed(prefix + group, prefix + topic))
            found += [f"{topic}/{n}: {committed.get(n)} of {end}" for n, end in ends.items() if committed.get(n) != end]
    return found


def dying(spec: str | None) -> Callable[[str], None]:
    """A hook that kills this process after a step was taken so often."""
    seen: Counter[str] = Counter()
    step, _, times = (spec or ":0").partition(":")

    def after_step(name: str) -> None:
        seen[name] += 1
        if name == step and seen[name] == int(times):
            os.kill(os.getpid(), signal.SIGKILL)

    return after_step


async def feed(system: System, folder: Path, prefix: str, pause_seconds: float) -> None:
    """Append what is left of the file. What was appended just before a kill may be appended again."""
    events = [orjson.loads(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]
    fed, log, random = folder / "fed", await system.client(), Random()
    done = int(fed.read_text()) if fed.exists() else 0
    while done < len(events):
        records = [record_of(event, PARTITIONS, random) for event in events[done : done + CHUNK]]
        await log.append(prefix + CONTACT_EVENTS.name, by_partition(records, PARTITIONS))
        done += CHUNK
        (folder / "fed.new").write_text(str(done))
        (folder / "fed.new").replace(fed)
        await asyncio.sleep(pause_seconds)


async def until_quiet(system: System, prefix: str) -> None:
    """Returns once everything is handled and committed, several looks in a row, and nothing is due."""
    calm = 0
    groups = GROUPS if ALERTING in system.roles else {"heardback-streams": GROUPS["heardback-streams"]}
    while calm < LOOKS_QUIET:
        await asyncio.sleep(0.1)
        late = await behind(await system.client(), prefix, groups)
        assert system.streams is not None
        due = [at for home in system.streams.track.homes.values() for _, at in home.due if at < to_us(system.now())]
        calm = 0 if late or due else calm + 1


async def say(system: System, given: argparse.Namespace) -> None:
    """Feed, and tell on standard output how far it is."""
    while system.streams is None or not system.streams.runtime.partitions():
        await asyncio.sleep(0.02)
    print("ready", system.url, flush=True)
    if given.feed:
        await feed(system, given.folder, given.prefix, given.pause)
    if given.until_quiet:
        await until_quiet(system, given.prefix)
        print("quiet", flush=True)


async def main(given: argparse.Namespace) -> None:
    """Until it is stopped or killed."""
    configuration = settings.load(given.folder / "heardback.yaml")
    roles = {STREAMS, *([ALERTING] if given.alerting else [])}
    place = Place(broker_url=given.url, port=free_ports(1)[0], transport=transport(given.prefix))
    system = System(place, configuration, roles=roles, after_step=dying(given.die))
    lines = (given.folder / "customers.jsonl").read_bytes().splitlines()
    customers = [Customer.model_validate_json(line) for line in lines]
    saying = asyncio.create_task(say(system, given))
    saying.add_done_callback(lambda done: None if done.cancelled() else done.result())
    await run_until_stopped(system, customers)
    saying.cancel()


def arguments() -> argparse.Namespace:
    """What it is told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("prefix")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--feed", action="store_true")
    parser.add_argument("--until-quiet", action="store_true")
    parser.add_argument("--alerting", action="store_true")
    parser.add_argument("--pause", type=float, default=0.02)
    parser.add_argument("--die")
    return parser.parse_args()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(__import__("sys").stderr))
    asyncio.run(main(arguments()))
