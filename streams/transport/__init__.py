"""Brokers as Faust sees them: batches in, batches out, bulk tables, on `sqlite://` and `kafka://`.

How a worker is put together (both brokers alike)::

    runtime = create_app("heardback-streams", "sqlite:////var/lib/heardback/log.sqlite3", settings=settings)
    contacts = runtime.table("contacts", on_partition_ready=load, on_partition_revoked=forget)

    async def track(batch: Batch) -> None:          # one batch of one partition
        view = contacts.partition(batch.partition)  # mapping of bytes to bytes
        ...
        await runtime.send("outcomes", {batch.partition: outcomes}, fence=batch.fence)
        await contacts.write(batch.partition, changed, fence=batch.fence)

    runtime.agent("contact-events", track)
    runtime.timer(1.0, look_at_due_index)

    await runtime.start()         # connects, creates and checks topics, joins the group; raises TransportError
    await runtime.wait_ready()    # tables recovered
    await runtime.wait_closed()   # returns after stop(), raises what crashed it
    await runtime.stop()          # from a signal: ends the batch in hand, commits, leaves; again: at once

Returning from the handler acknowledges the batch. Raising stops the process, and the batch is handed out
again after a restart. `Fenced` is the exception that is not a failure: the batch is dropped because it is
another worker's now.

Nothing happens on import; several runtimes live in one process, and those with the same `sqlite://` URL
share one log. Engine, sources and rules do not belong here, nor does the meaning of any record.
"""

from streams.transport.batching import (
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

__all__ = [
    "RECORD_BYTES_MAX",
    "Batch",
    "BrokerBusy",
    "BrokerFailed",
    "BrokerUnreachable",
    "Fence",
    "Fenced",
    "Headers",
    "LogClient",
    "Pace",
    "Record",
    "RecordTooLarge",
    "RecordsByPartition",
    "RecoveryStalled",
    "StopTimedOut",
    "TopicMismatch",
    "TopicSpec",
    "TransportError",
    "by_partition",
    "partition_for",
]
