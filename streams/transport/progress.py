"""How far each partition has come: finished, committed, end of the log, lag. Liveness is progress.

Metrics and health read it; what to do about a stall is decided in `runtime`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from faust.types import TP

from streams.transport.batching import Batch, Fence


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionProgress:
    """One partition of ours. Offsets are ends: the next to finish, to commit, to be appended (None: not
    known yet). `lag_seconds` is the age of the oldest record that is not finished, 0 when there is none."""

    topic: str
    partition: int
    finished: int | None
    committed: int | None
    end: int | None
    lag_records: int
    lag_seconds: float


@dataclass(slots=True, eq=False)
class PartitionState:
    """What the consumer knows of one partition in one generation."""

    fence: Fence
    done: int | None = None
    saved: int | None = None
    lost: bool = False
    waiting: deque[Batch] = field(default_factory=deque)
    last_timestamp_ms: int | None = None
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, offset: int) -> None:
        """Sets the position, which is also what is committed."""
        self.done = self.saved = offset

    async def room(self, batches_max: int) -> None:
        """Waits until fewer than so many batches are out."""
        while len(self.waiting) >= batches_max:
            self._room.clear()
            await self._room.wait()

    def handed_out(self, batch: Batch) -> None:
        """A batch is on its way to the agent."""
        self.waiting.append(batch)

    def finished(self, batch: Batch) -> None:
        """A batch, the oldest that is out, has been handled."""
        oldest = self.waiting.popleft()
        assert oldest.next_offset == batch.next_offset, "batches of a partition finish in their order"
        self.done = batch.next_offset
        self.last_timestamp_ms = batch.timestamps_ms[-1]
        self._room.set()


class Progress:
    """Of all partitions that we have. `stalled_seconds` is what a liveness check should look at."""

    def __init__(self, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._monotonic = monotonic
        self._states: Mapping[TP, PartitionState] = {}
        self._ends: dict[TP, int] = {}
        self._moved_at = monotonic()
        self.on_check: Callable[[float], object] = float

    def assigned(self, states: Mapping[TP, PartitionState]) -> None:
        """Another assignment begins."""
        self._states = states
        self._ends = {}
        self.moved()

    def moved(self) -> None:
        """Something was finished or recovered."""
        self._moved_at = self._monotonic()

    def ends(self, ends: Mapping[TP, int]) -> None:
        """Ends of the logs as the broker has them now."""
        self._ends.update(ends)
        if not self._behind():
            self.moved()

    def end(self, tp: TP) -> int:
        """End of one log as last heard, else 0."""
        return self._ends.get(tp, 0)

    def check(self) -> None:
        """Tells whoever watches how long nothing has moved."""
        self.on_check(self.stalled_seconds())

    def stalled_seconds(self) -> float:
        """How long there has been something to do and nothing was finished; 0 when all is done."""
        return self._monotonic() - self._moved_at if self._behind() else 0.0

    def partitions(self) -> list[PartitionProgress]:
        """Every partition of ours, in order of topic and number."""
        return [self._of(tp, state) for tp, state in sorted(self._states.items())]

    def _behind(self) -> bool:
        return any(state.waiting or self._lag(tp, state) for tp, state in self._states.items())

    def _lag(self, tp: TP, state: PartitionState) -> int:
        end = self._ends.get(tp)
        return 0 if end is None or state.done is None else max(0, end - state.done)

    def _of(self, tp: TP, state: PartitionState) -> PartitionProgress:
        lag = self._lag(tp, state)
        since_ms = state.waiting[0].timestamps_ms[0] if state.waiting else state.last_timestamp_ms if lag else None
        return PartitionProgress(
            topic=tp.topic, partition=tp.partition, finished=state.done, committed=state.saved,
            end=self._ends.get(tp), lag_records=lag,
            lag_seconds=0.0 if since_ms is None else max(0.0, self._now() - since_ms / 1000.0),
        )  # fmt: skip
