"""A member of a consumer group, as both brokers offer it to the consumer. Handing batches out is not here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from faust.types import TP

from streams.transport.batching import Batch

Revoked = Callable[[set[TP]], Awaitable[None]]
Assigned = Callable[[set[TP], int], Awaitable[None]]
"""Called with the partitions and the generation that they were given in."""
Refused = Callable[[BaseException], None]
"""Called once when the broker will never have us."""


class Member(Protocol):
    """Membership of one group. Calls raise `TransportError`, except where said otherwise."""

    async def start(self) -> None:
        """Connects; does not join yet."""

    async def join(self, topics: Iterable[str], revoked: Revoked, assigned: Assigned, refused: Refused) -> None:
        """Joins; the callbacks are awaited around every change of the assignment, `refused` is called where there
        will be none. Partitions with the same number go to the same member, whatever their topic."""

    async def committed(self, partitions: Iterable[TP]) -> Mapping[TP, int | None]:
        """Committed offsets as the broker has them now."""

    async def begin_offsets(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """First offsets that may still exist."""

    async def end_offsets(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """Ends of the logs now."""

    def seek(self, partition: TP, offset: int) -> None:
        """Where `fetch` goes on."""

    async def fetch(self, partition: TP, max_records: int, max_bytes: int) -> Batch | None:
        """The next batch, without fence; None when nothing came within about a second."""

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commits; False when the group has moved on and the partitions may be another's."""

    async def confirm(self) -> bool:
        """Whether the broker still counts us in. Cheap while heard from recently, else asks."""

    async def leave(self) -> None:
        """Leaves the group and disconnects."""
