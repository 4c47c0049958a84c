"""What a worker left behind, held against a replay of the same events: a figure counts only if they agree.

Compared are the last revision of every outcome and journey but for durations that still grow, and the offsets
committed with the ends of the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import orjson

from schemas.configuration import Configuration
from schemas.topics import CONTACT_EVENTS, DEAD_LETTERS, JOURNEYS, OUTCOMES
from streams import settings
from streams.app import APP_ID
from streams.engine.identity import Directory
from streams.replay import Line, replay
from streams.transport import LogClient

GROWING: Final = ("open_seconds", "wall_seconds", "paused_seconds")
Content = dict[str, Any]


class WrongError(Exception):
    """What was measured did not do its work."""


async def must_hold(
    client: LogClient, prefix: str, configuration: Configuration, values: Iterable[bytes], until: datetime
) -> None:
    """Raises `WrongError` naming the first thing that is not as it must be."""
    expected = replay(
        [Line("bench", value) for value in values], settings.policies_of(configuration), Directory(), until=until
    )
    if expected.refused:
        raise WrongError(f"the replay refused {len(expected.refused)} events, the first: {expected.refused[0]}")
    await _same(client, prefix + OUTCOMES.name, "outcome_id", expected.outcomes)
    await _same(client, prefix + JOURNEYS.name, "journey_id", expected.journeys)
    dead = sum((await client.end_offsets(prefix + DEAD_LETTERS.name)).values())
    if dead:
        raise WrongError(f"found {dead} dead letters")
    ends = dict(await client.end_offsets(prefix + CONTACT_EVENTS.name))
    committed = dict(await client.committed(prefix + APP_ID, prefix + CONTACT_EVENTS.name))
    if committed != ends:
        raise WrongError(f"committed {committed}, and the log ends at {ends}")


async def _same(client: LogClient, topic: str, key: str, expected: Iterable[Content]) -> None:
    last: dict[str, Content] = {}
    async for batch in client.scan(topic):
        for value in batch.values:
            record = orjson.loads(value or b"null")
            last[record[key]] = _lasting(record)
    last = {name: content for name, content in last.items() if not _is_gone(content)}
    wanted = {content[key]: _lasting(orjson.loads(orjson.dumps(content))) for content in expected}
    if last.keys() != wanted.keys():
        raise WrongError(f"{topic}: {len(last.keys() - wanted.keys())} too many, "
                         f"{len(wanted.keys() - last.keys())} missing of {len(wanted)}")  # fmt: skip
    for name, content in wanted.items():
        if last[name] != content:
            differs = {field: (last[name].get(field), value) for field, value in content.items()
                       if last[name].get(field) != value}  # fmt: skip
            raise WrongError(f"{topic} {name}: found and wanted {differs}")


def _is_gone(content: Content) -> bool:
    """Said last of what no longer exists: a replay never knew it."""
    return content.get("reason") == "superseded" or content.get("attempts") == []


def _lasting(content: Content) -> Content:
    left_out = ("revision", *GROWING) if content["ended_at"] is None else ("revision",)
    return {key: value for key, value in content.items() if key not in left_out}
