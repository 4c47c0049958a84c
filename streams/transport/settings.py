"""How a runtime talks to its broker: sizes, times, counts. Reading them from files is the caller's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """Times are wall seconds. `kafka_options` go to every aiokafka client (security_protocol, ssl_context,
    sasl_...). The request timeout must stay below the session timeout: a worker that was expelled must
    not have a write under way. A large batch makes catching up cheap, for a contact is assessed once in it;
    it must be handled well within the stop timeout."""

    partitions: int = 4
    replication_factor: int = 1
    topic_prefix: str = ""
    retention_days: int = 30
    batch_records: int = 16_000
    batch_bytes: int = 6 * 1024 * 1024
    batches_waiting: int = 2
    commit_interval_seconds: float = 1.0
    session_timeout_seconds: float = 10.0
    request_timeout_seconds: float = 8.0
    start_timeout_seconds: float = 30.0
    stop_timeout_seconds: float = 10.0
    recovery_stall_seconds: float = 30.0
    stall_exit_seconds: float | None = 300.0
    kafka_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.request_timeout_seconds >= self.session_timeout_seconds:
            raise ValueError(
                f"request_timeout_seconds must be below session_timeout_seconds: found "
                f"{self.request_timeout_seconds} and {self.session_timeout_seconds}"
            )
        if self.partitions < 1:
            raise ValueError(f"partitions must be at least 1: found {self.partitions}")
