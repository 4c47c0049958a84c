"""What alerting needs of a worker on a broker, as small protocols. `streams.transport` offers it; the program
that composes both hands it in, for neither imports the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Hook = Callable[[int], Awaitable[None] | None]


class Batch(Protocol):
    """Consecutive records of one partition, undecoded, as parallel lists."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offsets(self) -> Sequence[int]: ...
    @property
    def values(self) -> Sequence[bytes | None]: ...
    @property
    def fence(self) -> Any: ...


class Table(Protocol):
    """A durable mapping of bytes to bytes per partition."""

    def partition(self, partition: int) -> Mapping[bytes, bytes]:
        """A view of what is there."""

    async def write(self, partition: int, changes: Mapping[bytes, bytes | None], *, fence: Any) -> None:
        """Durable in the order of the mapping; None deletes."""


class Client(Protocol):
    """Access to the log outside any group."""

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        """Ends of a topic's partitions now."""


class Progress(Protocol):
    """How far one source partition has come."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def finished(self) -> int | None: ...


class Runtime(Protocol):
    """A worker: agents, a table, sends behind a fence, and hooks for partitions that come and go."""

    @property
    def client(self) -> Client: ...
    def table(self, name: str) -> Table: ...
    def agent(self, topic: str, handler: Callable[[Any], Awaitable[None]]) -> None: ...
    def on_partition_ready(self, hook: Hook) -> None: ...
    def on_partition_revoked(self, hook: Hook) -> None: ...
    def topic_name(self, topic: str) -> str: ...
    def progress(self) -> Sequence[Progress]: ...
    def fence(self, partition: int) -> Any: ...
    def fail(self, reason: BaseException) -> None: ...
    async def send(self, topic: str, records: Mapping[int, Sequence[Any]], *, fence: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """A runtime with the names of its package that its users need: how a record is made
    (`record(key=..., value=...)`), what is raised where a partition is no longer ours, and what where the broker
    is `away`."""

    runtime: Runtime
    record: Callable[..., Any]
    fenced: type[Exception]
    away: tuple[type[Exception], ...] = (OSError,)
