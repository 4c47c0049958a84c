"""A configuration that changed: what another one judged is looked at once more, touched or not.

A clock that is overdue by a new promise must not stay silent until somebody touches its contact. Each partition keeps
in table `judged` which configuration all of it was judged by; a worker that finds another one has the contacts whose
clocks run, and those that nothing was promised, woken: by wake-ups, which queue behind the answers in the log. What a
wake-up comes to is `streams.track.decide`'s business; which policy judges which message is the engine's (C16).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

import orjson

from streams.engine.policy import Policies
from streams.track.due import JOURNEYS_OF
from streams.track.homes import Home

JUDGED_BY: Final = b"policies"  # the one key of table `judged`
AT_ONCE: Final = 5_000
_NOTHING_PROMISED: Final = b'"published":{}'  # in a text its quotes would be escaped


def version_of(policies: Policies) -> bytes:
    """32 hex digits of everything that judges: policies in their order, calendars, escalations."""
    content = [
        [policy.version for policy in policies.policies],
        sorted((name, calendar.version) for name, calendar in policies.calendars.items()),
        [[step.after_us, step.wall] for step in policies.escalations],
    ]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()[:32].encode()


async def judge_anew(home: Home, contacts: Mapping[bytes, bytes], now_us: int) -> None:
    """Have everything in a home that another configuration judged looked at; the loop is yielded to in between.
    `home.judged_by_others` are the names that are still to be looked at."""
    names = set(_judged(home, contacts))
    home.judged_by_others = set(names)
    ahead = iter(names)
    while some := list(islice(ahead, AT_ONCE)):
        home.look_again(some, now_us)
        if len(some) == AT_ONCE:
            await asyncio.sleep(0)


def _judged(home: Home, contacts: Mapping[bytes, bytes]) -> Iterator[str]:
    """Contacts whose clocks run or that nothing was promised yet, and their customers' journeys. Copies are looked at
    with the contact itself; what is over was judged by what was in force then."""
    for name, header in home.headers.items():
        if "\0" in name or header.wake_us is None:
            continue
        if header.running or _NOTHING_PROMISED in contacts.get(name.encode(), b""):
            yield name
            yield JOURNEYS_OF + header.home
