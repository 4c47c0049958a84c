"""Creating topics on Kafka, checking those that exist, waiting until each partition has a leader."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from streams.transport.client import TopicSpec
from streams.transport.errors import BrokerFailed, BrokerUnreachable, TopicMismatch
from streams.transport.settings import TransportSettings

logger = logging.getLogger(__name__)

CHANGELOG_SEGMENT_BYTES: Final = 64 * 1024 * 1024
FOREVER_MS: Final = 2**63 - 1


async def partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Every topic that is not Kafka's own."""
    names = [name for name in await admin.list_topics() if not name.startswith("__")]
    described = await admin.describe_topics(names) if names else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


async def ensure(
    admin: AIOKafkaAdminClient, url: str, specs: Sequence[TopicSpec], replication_factor: int,
    settings: TransportSettings,
) -> None:  # fmt: skip
    """Creates what is missing. Raises `TopicMismatch` naming every wrong topic, `BrokerUnreachable` naming
    the partitions without a leader."""
    found = await partition_counts(admin)
    _check(url, specs, found)
    missing = [spec for spec in specs if spec.name not in found]
    if missing:
        await _create(admin, url, missing, replication_factor)
    await _await_leaders(admin, url, specs, settings.start_timeout_seconds * 0.8)


def _check(url: str, specs: Sequence[TopicSpec], found: Mapping[str, int]) -> None:
    wrong = [
        f"{spec.name}: wanted {spec.partitions} partitions, found {found[spec.name]}"
        for spec in specs
        if spec.name in found and found[spec.name] != spec.partitions
    ]
    if wrong:
        raise TopicMismatch(f"{url}: " + "; ".join(wrong))


async def _create(admin: AIOKafkaAdminClient, url: str, missing: Sequence[TopicSpec], replication_factor: int) -> None:
    wanted = [
        NewTopic(spec.name, spec.partitions, replication_factor, topic_configs=_config(spec, replication_factor))
        for spec in missing
    ]
    response = await admin.create_topics(wanted)
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise BrokerFailed(
                f"{url}: topic {name} with replication factor {replication_factor} was refused: "
                f"{error.__name__} {message[0] if message else ''}"
            )


def _config(spec: TopicSpec, replication_factor: int) -> dict[str, str]:
    config = {
        "max.message.bytes": str(spec.message_bytes),
        "min.insync.replicas": str(max(1, replication_factor - 1)),
        "message.timestamp.after.max.ms": str(FOREVER_MS),
    }
    if spec.compacted:
        return config | {"cleanup.policy": "compact", "segment.bytes": str(CHANGELOG_SEGMENT_BYTES)}
    if spec.retention_ms is not None:
        config["retention.ms"] = str(spec.retention_ms)
    return config


async def _await_leaders(
    admin: AIOKafkaAdminClient, url: str, specs: Sequence[TopicSpec], timeout_seconds: float
) -> None:
    deadline = time.monotonic() + timeout_seconds
    while True:
        described = {topic["topic"]: topic for topic in await admin.describe_topics([spec.name for spec in specs])}
        waiting = [problem for spec in specs if (problem := _leaderless(spec, described.get(spec.name)))]
        if not waiting:
            _check(url, specs, {name: len(topic["partitions"]) for name, topic in described.items()})
            return
        if time.monotonic() > deadline:
            raise BrokerUnreachable(f"{url}: after {timeout_seconds:g} s still waiting for " + "; ".join(waiting))
        logger.warning("waiting for leaders", extra={"broker": url, "topics": len(waiting), "first": waiting[0]})
        await asyncio.sleep(0.25)


def _leaderless(spec: TopicSpec, described: Mapping[str, Any] | None) -> str | None:
    if described is None or not described["partitions"]:
        return f"{spec.name} to be created"
    numbers = [part["partition"] for part in described["partitions"] if part["leader"] < 0]
    return f"a leader of {spec.name} partitions {numbers}" if numbers else None
