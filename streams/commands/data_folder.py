"""What the data folder of `heardback run` knows: its contacts and promises, read beside a running process.

The log is opened for reading only. Which contact is explained is not decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from schemas.policies import PolicyRecord
from schemas.topics import POLICIES
from streams.app import APP_ID
from streams.commands.archive import Archive, Damaged
from streams.engine.attributes import Tier
from streams.engine.calendar import to_us
from streams.engine.timeline import Contact
from streams.promises import IN_FORCE, policies_from
from streams.track.state import decode_contact
from streams.transport import LogClient, TransportError
from streams.transport.sqlite import SqliteLog

LOG_FILE: Final = "log.sqlite3"
_CONTACTS: Final = f"{APP_ID}-contacts-changelog"


def load(folder: Path) -> Archive | Damaged | None:
    """What is in `folder` now; None where it is no data folder."""
    path = folder / LOG_FILE
    if not path.is_file():
        return None
    try:
        return asyncio.run(_load(path))
    except (TransportError, ValidationError, KeyError, ValueError) as broken:
        return Damaged(str(path), f"cannot be read: {type(broken).__name__} {str(broken).splitlines()[0]}")


async def _load(path: Path) -> Archive | Damaged:
    client = SqliteLog(path, read_only=True)
    await client.start()
    try:
        prefix = next((name.removesuffix(_CONTACTS) for name in await client.topics() if name.endswith(_CONTACTS)), "")
        policies = await _last(client, prefix + POLICIES.name)
        values = await _last(client, prefix + _CONTACTS)
    finally:
        await client.close()
    records = {key: PolicyRecord.model_validate_json(value) for key, value in policies.items()}
    chosen = records.get(IN_FORCE.encode())
    if chosen is None:
        return Damaged(str(path), "no promises have been published yet")
    contacts: dict[str, Contact] = {}
    tiers: dict[str, Sequence[Tier]] = {}
    for state in map(decode_contact, values.values()):
        if state.moved_to is None and not state.is_copy:
            contacts[state.contact.contact_id] = state.contact
            tiers.setdefault(state.contact.customer_id, state.tiers)
    now_us = to_us(datetime.now(UTC))
    return Archive(
        contacts=contacts, policies=policies_from(chosen.content, records.values()), tiers=tiers, until_us=now_us
    )


async def _last(client: LogClient, topic: str) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    async for batch in client.scan(topic):
        for key, value in zip(batch.keys, batch.values, strict=True):
            if key is not None and value is not None:
                found[key] = value
            elif key is not None:
                found.pop(key, None)
    return found
