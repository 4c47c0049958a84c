"""What can go wrong between us and a broker. Each message says what was wanted and what was found.

Bad records are not here: they are values (`schemas.refusals`), decided above the transport.
"""

# ruff: noqa: N818  # these are names of what happened, as in "dropped: Fenced", not of a class hierarchy

from __future__ import annotations


class TransportError(Exception):
    """Anything of the environment that keeps records from moving. The process must not go on as if not."""


class BrokerUnreachable(TransportError):
    """No broker, no leader or no group coordinator answered in the time allowed."""


class BrokerFailed(TransportError):
    """The broker answered, and the answer was no: disk full, read-only, not enough replicas, not allowed."""


class BrokerBusy(TransportError):
    """The embedded broker's data belongs to another process."""


class TopicMismatch(TransportError):
    """A topic is missing or has another partition count than the settings want."""


class RecordTooLarge(TransportError):
    """A record beyond `RECORD_BYTES_MAX`; nothing of the call was written."""


class Fenced(TransportError):
    """The partition is no longer ours: what was to be written is another worker's business. Drop the batch."""


class RecoveryStalled(TransportError):
    """Reading a changelog made no progress for the time allowed."""


class StopTimedOut(TransportError):
    """Stopping took longer than allowed; what was in hand will be handed out again."""
