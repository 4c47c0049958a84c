"""The due index: when must which contact be looked at again. One for each partition, in memory only.

It is built from table `contacts` and `journeys` when a partition is ready and dropped when it is revoked.
A timer may do nothing but look in here and send wake-ups (DESIGN: only a wake-up makes a customer late).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

JOURNEYS_OF = "\0journeys:"  # as no contact is called


class DueIndex:
    """Names (a contact's id, or `JOURNEYS_OF` and a customer's for their journeys) by the instant to look again."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._wakes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._wakes)

    def put(self, name: str, wake_us: int | None) -> None:
        """Set or, with None, forget when `name` must be looked at."""
        if wake_us is None:
            self._wakes.pop(name, None)
        elif self._wakes.get(name) != wake_us:
            self._wakes[name] = wake_us
            heapq.heappush(self._heap, (wake_us, name))
            if len(self._heap) > 4 * len(self._wakes) + 1_000:
                self._heap = [(at_us, known) for known, at_us in self._wakes.items()]
                heapq.heapify(self._heap)

    def passed(self, now_us: int, most: int) -> list[tuple[int, str]]:
        """At most `most` names whose instant has passed, the earliest first; they stay until `put`."""
        found: list[tuple[int, str]] = []
        while self._heap and self._heap[0][0] < now_us and len(found) < most:
            wake_us, name = heapq.heappop(self._heap)
            if self._wakes.get(name) == wake_us:
                found.append((wake_us, name))
        return found

    def sent(self, name: str, wake_us: int) -> None:
        """The wake-up is in the log; what follows from it will be `put` when it is read."""
        if self._wakes.get(name) == wake_us:
            del self._wakes[name]

    def again(self, passed: list[tuple[int, str]]) -> None:
        """Sending failed: these are still due."""
        for wake_us, name in passed:
            heapq.heappush(self._heap, (wake_us, name))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._wakes.items())
