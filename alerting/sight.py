"""Whether heardback itself can see: a pure rule on looks at the log and at its own tables.

Blind is who has not been able to for as long as the limit: the broker has not answered, tables have not been
recovered, what arrived has not been read; or who has refused most of what came in that time. Seconds are those of a
clock that only goes on, in real time. Looking belongs to whoever composes, telling to `alerting.watch`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

REFUSED_LEAST: Final = 50
REFUSED_SHARE: Final = 0.5
LOOKS_KEPT: Final = 10_000


class Look(NamedTuple):
    """One look. `ends` and `read`: where the topic of contact events ends and how far its reader has committed, by
    partition; `refused`: the end of the dead letters; `recovered`: whether all tables of this process are."""

    ends: Mapping[int, int]
    read: Mapping[int, int]
    refused: int
    recovered: bool


class Blind(NamedTuple):
    """Why, in one word and in words, and for how many seconds already."""

    reason: str
    words: str
    seconds: float


@dataclass(slots=True)
class Sight:
    """Looks folded into what can be seen. `limit_seconds`: for how long it may fail."""

    limit_seconds: float
    _away_since: float | None = None
    _recovering_since: float | None = None
    _unread: dict[int, tuple[int, float]] = field(default_factory=dict)
    _counts: deque[tuple[float, int, int]] = field(default_factory=deque)

    def failed(self, at_seconds: float) -> None:
        """The broker did not answer."""
        if self._away_since is None:
            self._away_since = at_seconds

    def looked(self, look: Look, at_seconds: float) -> None:
        """The broker answered."""
        self._away_since = None
        self._recovering_since = None if look.recovered else self._recovering_since or at_seconds
        for partition, end in look.ends.items():
            read = look.read.get(partition, 0)
            mark = self._unread.get(partition)
            if read >= end:
                self._unread.pop(partition, None)
            elif mark is None or read >= mark[0]:  # everything was read that was there then
                self._unread[partition] = (end, at_seconds)
        self._counts.append((at_seconds, look.refused, sum(look.ends.values())))
        while self._counts[0][0] < at_seconds - self.limit_seconds or len(self._counts) > LOOKS_KEPT:
            self._counts.popleft()

    @property
    def log_answers(self) -> bool:
        """Whether the last look was answered."""
        return self._away_since is None

    def blind(self, at_seconds: float) -> Blind | None:
        """Why nothing can be seen, the gravest reason first; None: everything can."""
        if self._too_long(self._away_since, at_seconds):
            return self._since("broker_away", "the broker does not answer", self._away_since, at_seconds)
        if self._too_long(self._recovering_since, at_seconds):
            return self._since("recovery", "tables are still being recovered", self._recovering_since, at_seconds)
        if (refused := self._flood()) is not None:
            words = f"{refused} records were refused, more than half of what came"
            return Blind("refusals", words, self.limit_seconds)
        oldest = min((since for _, since in self._unread.values()), default=None)
        if self._too_long(oldest, at_seconds):
            return self._since("lag", "contact events arrive and are not read", oldest, at_seconds)
        return None

    def _too_long(self, since: float | None, at_seconds: float) -> bool:
        return since is not None and at_seconds - since > self.limit_seconds

    @staticmethod
    def _since(reason: str, words: str, since: float | None, at_seconds: float) -> Blind:
        return Blind(reason, words, at_seconds - (since or at_seconds))

    def _flood(self) -> int | None:
        """How many records were refused within the limit, where that is a flood."""
        if not self._counts:
            return None
        (_, refused_then, came_then), (_, refused_now, came_now) = self._counts[0], self._counts[-1]
        refused, came = refused_now - refused_then, came_now - came_then
        return refused if refused >= REFUSED_LEAST and refused > REFUSED_SHARE * came else None
