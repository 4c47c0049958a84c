"""Records and batches as everything above the brokers sees them, and where a key belongs.

What a broker does with them is in `sqlite` and `kafka`; when they are handed out is in `consumer`.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

Headers = Sequence[tuple[str, bytes]]

RECORD_BYTES_MAX: Final = 1024 * 1024
"""Key, value and headers of one record together; a larger one is refused with `RecordTooLarge`."""

FOREIGN_BYTES_MAX: Final = 4 * 1024 * 1024
"""What others may write into our topics: more than we do, since the broker could only turn them away."""

KEPT_BYTES_MAX: Final = 3 * FOREIGN_BYTES_MAX
"""A record of others with what we have to say about it, for the topics that keep such."""

YIELD_AFTER_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The right to write on behalf of a partition: it holds as long as the group's generation does."""

    partition: int
    generation: int


class Record(NamedTuple):
    """One record to be written. `timestamp_ms` is None for "now"; `partition` only matters to those who
    group records by it (`by_partition`): None means where the key belongs. `bytes_max` is raised for what
    others wrote and we must keep unchanged."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None
    partition: int | None = None
    bytes_max: int = RECORD_BYTES_MAX

    @property
    def size_bytes(self) -> int:
        """What the record is measured by: its key, value and headers."""
        size = len(self.key or b"") + len(self.value or b"")
        if self.headers:
            size += sum(len(name.encode()) + len(content) for name, content in self.headers)
        return size


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Consecutive records of one partition as parallel lists, undecoded.

    Offsets rise but need not be adjacent (compaction leaves gaps). `timestamps_ms` are the records' own
    milliseconds since 1970: append time, unless the writer named another. `next_offset` is where reading
    goes on, past records that no longer exist. `fence` is None for batches read outside a group.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]
    timestamps_ms: Sequence[int]
    next_offset: int
    fence: Fence | None = None

    @property
    def first_offset(self) -> int:
        """Offset of the first record; `next_offset` of a batch without any."""
        return self.offsets[0] if self.offsets else self.next_offset

    @property
    def size_bytes(self) -> int:
        """Keys and values together."""
        return sum(len(key) for key in self.keys if key) + sum(len(value) for value in self.values if value)

    def __len__(self) -> int:
        return len(self.offsets)


def partition_for(key: bytes, partitions: int) -> int:
    """The partition of a key: murmur2 as Java's and aiokafka's default partitioner have it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def by_partition(records: Sequence[Record], partitions: int) -> dict[int, list[Record]]:
    """Groups records by the partition they name, else by the one of their key (0 without a key)."""
    grouped: dict[int, list[Record]] = {}
    for record in records:
        chosen = record.partition
        if chosen is None:
            chosen = partition_for(record.key, partitions) if record.key is not None else 0
        grouped.setdefault(chosen, []).append(record)
    return grouped


def murmur2(data: bytes) -> int:
    """MurmurHash2, 32 bits, seed 0x9747b28c, unsigned: `org.apache.kafka.common.utils.Utils.murmur2`."""
    length, mask, mix = len(data), 0xFFFFFFFF, 0x5BD1E995
    digest = 0x9747B28C ^ length
    whole = length & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        word = (word * mix) & mask
        word = ((word ^ (word >> 24)) * mix) & mask
        digest = ((digest * mix) & mask) ^ word
    if length > whole:
        digest = ((digest ^ int.from_bytes(data[whole:], "little")) * mix) & mask
    digest = ((digest ^ (digest >> 13)) * mix) & mask
    return digest ^ (digest >> 15)


class Pace:
    """Lets the event loop breathe inside long work: `await pace()` yields when 50 ms have gone by."""

    def __init__(self, every_seconds: float = YIELD_AFTER_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._since = time.monotonic()

    async def __call__(self) -> None:
        if time.monotonic() - self._since >= self._every_seconds:
            await asyncio.sleep(0)
            self._since = time.monotonic()


RecordsByPartition = Mapping[int, Sequence[Record]]
