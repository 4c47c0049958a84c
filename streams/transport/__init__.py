"""Brokers as Faust sees them: batches in, batches out, bulk tables, on `sqlite://` and `kafka://`.

How a worker is put together (both brokers alike)::

    runtime = create_app("heardback-streams", "sqlite:////var/lib/heardback/log.sqlite3", topics=TOPICS)
    contacts = runtime.table("contacts")
    runtime.on_partition_ready(build_due_index)       # called with the partition's number
    runtime.on_partition_revoked(drop_due_index)

    async def track(batch: Batch) -> None:          # one batch of one partition
        view = contacts.partition(batch.partition)  # mapping of bytes to bytes
        ...
        await runtime.send("outcomes", {batch.partition: outcomes}, fence=batch.fence)
        await contacts.write(batch.partition, changed, fence=batch.fence)

    runtime.agent("contact-events", track)
    runtime.timer(1.0, look_at_due_index)             # over runtime.partitions(), with runtime.fence(partition)

    await runtime.start()         # connects, creates and checks topics, joins the group; raises TransportError
    await runtime.wait_ready()    # tables recovered
    await runtime.wait_closed()   # returns after stop(), raises what crashed it
    await runtime.stop()          # from a signal: ends the batch in hand, commits, leaves; again: at once
    runtime.progress(), runtime.stalled_seconds()   # for metrics and liveness

Without a group: `client = open_log(url)`, `await client.start()`, then `append`, `read`, `scan`, `follow`,
`end_offsets`; a runtime has one as `runtime.client`. Clients want full topic names (`runtime.topic_name`).

Returning from the handler acknowledges the batch. Raising stops the process, and the batch is handed out
again after a restart. `Fenced` is the exception that is not a failure: the batch is dropped because it is
another worker's now.

Nothing happens on import; several runtimes live in one process, and those with the same `sqlite://` URL
share one log. Engine, sources and rules do not belong here, nor does the meaning of any record.
"""

from streams.transport.batching import (
    KEPT_BYTES_MAX,
    RECORD_BYTES_MAX,
    Batch,
    Fence,
    Headers,
    Pace,
    Record,
    RecordsByPartition,
    by_partition,
    partition_for,
)
from streams.transport.client import LogClient, TopicSpec
from streams.transport.errors import (
    BrokerBusy,
    BrokerFailed,
    BrokerUnreachable,
    Fenced,
    RecordTooLarge,
    RecoveryStalled,
    StopTimedOut,
    TopicMismatch,
    TransportError,
)
from streams.transport.opening import open_log
from streams.transport.progress import PartitionProgress
from streams.transport.runtime import Runtime, create_app, topic_specs
from streams.transport.settings import TransportSettings
from streams.transport.table import BulkTable

__all__ = [
    "KEPT_BYTES_MAX",
    "RECORD_BYTES_MAX",
    "Batch",
    "BrokerBusy",
    "BrokerFailed",
    "BrokerUnreachable",
    "BulkTable",
    "Fence",
    "Fenced",
    "Headers",
    "LogClient",
    "Pace",
    "PartitionProgress",
    "Record",
    "RecordTooLarge",
    "RecordsByPartition",
    "RecoveryStalled",
    "Runtime",
    "StopTimedOut",
    "TopicMismatch",
    "TopicSpec",
    "TransportError",
    "TransportSettings",
    "by_partition",
    "create_app",
    "open_log",
    "partition_for",
    "topic_specs",
]
