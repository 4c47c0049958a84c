"""A customer's journeys as they become known: of many contacts only what may have changed is looked at again.

What a journey is belongs to `streams.engine.journey`. Nothing of a contact acts before its first fact, but through
merges and links; so a journey stays as it is that ended before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace

from streams.engine.journey import Journey, Trace, journeys_of
from streams.engine.policy import Policies


class Retracing:
    """The traces of one customer's contacts, told in the order of time, and what was said of the journeys."""

    def __init__(self) -> None:
        self._traces: dict[str, tuple[int, Trace]] = {}  # the latest told comes last
        self._naming: dict[str, Trace] = {}  # those that are linked or name another: they act on any
        self._ends: list[int] = []  # when a journey had ended and the next not begun
        self._told: dict[str, int] = {}  # when each began, in that order
        self._changed_us: int | None = None  # nothing before that instant is another; None: nothing at all

    def note(self, found: Trace, at_us: int, acts_from_us: int) -> None:
        """What a contact means as it is known at that instant."""
        self._traces.pop(found.contact_id, None)
        self._traces[found.contact_id] = (at_us, found)
        if found.links or found.form:
            self._naming[found.contact_id] = found
        self._changed_us = acts_from_us if self._changed_us is None else min(acts_from_us, self._changed_us)

    def forget(self, contact_id: str) -> None:
        """A contact is another customer's."""
        if self._traces.pop(contact_id, None) is not None:
            self._naming.pop(contact_id, None)
            self._changed_us = 0

    def look(self, customer_id: str, policies: Policies, now_us: int) -> tuple[list[Journey], int]:
        """The journeys that began after the instant that is given back; those before are as they were. Raises
        NeverOpens."""
        known = len(self._ends) if self._changed_us is None else bisect_left(self._ends, self._changed_us)
        after_us = self._ends[known - 1] if known else -1
        self._changed_us = None
        found = journeys_of(customer_id, list(self._after(after_us)), policies, now_us)
        del self._ends[known:]
        for number, journey in enumerate(found, start=1):
            follows = found[number].started_us if number < len(found) else None
            if journey.ended_us is not None and (follows is None or follows > journey.ended_us):
                self._ends.append(journey.ended_us)
        return found, after_us

    def gone(self, names: Iterable[tuple[str, int]], after_us: int) -> list[tuple[str, int]]:
        """Journeys that were told of and are no more, once, with when they began. `names` has all that are and began
        after that instant, in order."""
        now, before = dict(names), []
        while self._told and next(reversed(self._told.values())) > after_us:
            before.append(self._told.popitem())
        self._told.update(now)
        return sorted(one for one in before if one[0] not in now)

    def _after(self, after_us: int) -> Iterator[Trace]:
        recent = set()
        for name, (at_us, one) in reversed(self._traces.items()):
            if at_us <= after_us:
                break
            recent.add(name)
            yield _cut(one, after_us)
        for name, one in self._naming.items():
            if name not in recent:
                yield _cut(one, after_us)


def _cut(one: Trace, after_us: int) -> Trace:
    """The trace without what belongs to journeys that had ended."""
    tries = tuple(item for item in one.tries if item.at_us > after_us)
    answers = tuple(item for item in one.answers if item.at_us > after_us)
    if len(tries) == len(one.tries) and len(answers) == len(one.answers):
        return one
    return replace(one, tries=tries, answers=answers)
