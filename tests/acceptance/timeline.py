"""A language for what must happen when: a declared timeline of what is done to a running heardback and to its
receivers, and of what each receiver must have got between two instants.

    story = Timeline({"pager": told_to_pager})
    story.at(0, lambda: heardback.post(event(...)))
    story.want("pager", "trigger c-1: T-1 PAGE", since=3, until=20)
    story.run()

Instants are seconds after its beginning. What is told and not wanted is an error, and so is what comes too early
or too late. After `run` a next part can be declared; it begins with what is told from then on. The model is
Alertmanager's own acceptance tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tests.servers.process import ServerError, wait_until


class Told(NamedTuple):
    """What a receiver got, in words, and when."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a receiver must have got between two instants."""

    receiver: str
    what: str
    since: float
    until: float


@dataclass(slots=True)
class Timeline:
    """What is done when, and what must come of it. `receivers`: all that each of them was told so far."""

    receivers: Mapping[str, Callable[[], Sequence[Told]]]
    settle_seconds: float = 2.0
    _done: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    _wanted: list[Wanted] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    def at(self, seconds: float, do: Callable[[], object]) -> None:
        """Has something done, at that instant or as soon as what was to be done before it is."""
        self._done.append((seconds, do))

    def want(self, receiver: str, what: str, *, since: float, until: float) -> None:
        """Has a receiver told this once, within that time."""
        self._wanted.append(Wanted(receiver, what, since, until))

    def run(self) -> None:
        """Does it all, waits for what is wanted, and a little for what is not. Raises AssertionError with
        everything that is wrong."""
        began, clock = datetime.now(UTC), time.monotonic()
        for seconds, do in sorted(self._done, key=lambda item: item[0]):
            time.sleep(max(0.0, clock + seconds - time.monotonic()))
            do()
        limit = max((wanted.until for wanted in self._wanted), default=0.0) - (time.monotonic() - clock)
        with suppress(ServerError):  # what is missing is told below
            wait_until(self._all_told, seconds=max(1.0, limit), what="all that is wanted")
        time.sleep(self.settle_seconds)
        wrong = [one for name in self.receivers for one in self._wrong(name, began)]
        self._done.clear()
        self._wanted.clear()
        assert not wrong, "\n".join(wrong)

    def _all_told(self) -> bool:
        told = {name: [one.what for one in self._new(name)] for name in self.receivers}
        return all(wanted.what in told[wanted.receiver] for wanted in self._wanted)

    def _new(self, name: str) -> Sequence[Told]:
        return self.receivers[name]()[self._seen.get(name, 0) :]

    def _wrong(self, name: str, began: datetime) -> list[str]:
        found, new = [], self._new(name)
        self._seen[name] = self._seen.get(name, 0) + len(new)
        left = [wanted for wanted in self._wanted if wanted.receiver == name]
        for told in new:
            after = (told.at - began) / timedelta(seconds=1)
            wanted = next((one for one in left if one.what == told.what), None)
            if wanted is None:
                found.append(f"{name}: told at {after:.1f} s, not wanted: {told.what}")
                continue
            left.remove(wanted)
            if not wanted.since <= after <= wanted.until:
                when = f"wanted between {wanted.since} and {wanted.until} s"
                found.append(f"{name}: told at {after:.1f} s, {when}: {told.what}")
        return found + [f"{name}: never told: {wanted.what}" for wanted in left]
