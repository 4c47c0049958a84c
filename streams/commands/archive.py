"""What a replay's `--out` keeps so that a contact can be explained later, without the configuration file.

`contacts.jsonl.gz` has each contact with its facts, and the tiers of customers; `policies.json` the policies and
calendars that judged, by content hash. The same input gives the same bytes. Which contact is explained is not
decided here.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import orjson
from pydantic import ValidationError

from schemas.configuration import Configuration
from schemas.policies import PolicyRecord
from streams.engine import timeline as facts
from streams.engine.attributes import Tier
from streams.engine.calendar import to_us
from streams.engine.outcome import Content, instant_text
from streams.engine.policy import Policies
from streams.engine.timeline import Contact, Fact
from streams.promises import in_force, policies_from, records_of
from streams.replay import Replayed

CONTACTS_FILE: Final = "contacts.jsonl.gz"
POLICIES_FILE: Final = "policies.json"
_GZIP_LEVEL: Final = 4  # 6 takes more than twice the time for an eighth less


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What a folder knows: contacts by id, the promises that judged them, tiers by customer, and when."""

    contacts: Mapping[str, Contact]
    policies: Policies
    tiers: Mapping[str, Sequence[Tier]]
    until_us: int

    def tiers_of(self, customer_id: str) -> Sequence[Tier]:
        """The tiers of a customer; none of an unknown one."""
        return self.tiers.get(customer_id, ())


class Damaged(NamedTuple):
    """A folder that is of the right kind and cannot be used: which file, and what is wrong with it."""

    where: str
    what: str


# -- writing -------------------------------------------------------------------------------------------


def write(result: Replayed, configuration: Configuration, out: Path) -> None:
    """Write both files into `out`, which exists. Raises OSError."""
    lines = b"".join(orjson.dumps(record) + b"\n" for record in _contact_records(result))
    (out / CONTACTS_FILE).write_bytes(gzip.compress(lines, _GZIP_LEVEL, mtime=0))
    judged = orjson.dumps(_judged(configuration, result.until_us), option=orjson.OPT_INDENT_2)
    (out / POLICIES_FILE).write_bytes(judged + b"\n")


def _contact_records(result: Replayed) -> Iterator[Content]:
    for customer_id, tiers in sorted(result.tiers.items()):
        if tiers:
            since = [{"since": instant_text(one.since_us), "tier": one.tier, "kind": one.kind} for one in tiers]
            yield {"customer_id": customer_id, "tiers": since}
    for contact_id, contact in sorted(result.contacts.items()):
        told = [
            {"time": instant_text(one.at_us), "source": one.source, "id": one.id, "type": one.type, "data": one.data}
            for one in contact.facts
        ]
        yield {"contact_id": contact_id, "customer_id": contact.customer_id, "events": told}


def _judged(configuration: Configuration, until_us: int) -> Content:
    """What was in force, and the records that it names."""
    records = [record.model_dump(mode="json") for record in records_of(configuration)]
    return {"until": instant_text(until_us), **in_force(configuration), "records": records}


# -- reading -------------------------------------------------------------------------------------------


def load(folder: Path) -> Archive | Damaged | None:
    """What a replay's `--out` holds; None where the folder is none. Raises OSError where it cannot be read."""
    contacts_file, policies_file = folder / CONTACTS_FILE, folder / POLICIES_FILE
    if not contacts_file.is_file() or not policies_file.is_file():
        return None
    try:
        policies, until_us = _policies_in(orjson.loads(policies_file.read_bytes()))
    except (ValueError, ValidationError, KeyError, TypeError) as broken:
        return Damaged(str(policies_file), _first_line(broken))
    try:
        contacts, tiers = _contacts_in(_unpacked(contacts_file.read_bytes()))
    except (ValueError, KeyError, TypeError, EOFError, gzip.BadGzipFile, zlib.error) as broken:
        return Damaged(str(contacts_file), _first_line(broken))
    return Archive(contacts=contacts, policies=policies, tiers=tiers, until_us=until_us)


def _first_line(broken: Exception) -> str:
    lines = str(broken).splitlines() or [""]
    return f"cannot be read: {type(broken).__name__} {lines[0]}"


def _unpacked(packed: bytes) -> bytes:
    if not packed:
        raise EOFError("it is empty")
    return gzip.decompress(packed)


def _policies_in(content: Content) -> tuple[Policies, int]:
    records = [PolicyRecord.model_validate(record) for record in content["records"]]
    return policies_from(content, records), _us(content["until"])


def _contacts_in(lines: bytes) -> tuple[dict[str, Contact], dict[str, Sequence[Tier]]]:
    contacts: dict[str, Contact] = {}
    tiers: dict[str, Sequence[Tier]] = {}
    for line in lines.split(b"\n")[:-1]:
        record = orjson.loads(line)
        if "tiers" in record:
            since = [Tier(_us(one["since"]), one["tier"], one["kind"]) for one in record["tiers"]]
            tiers[record["customer_id"]] = tuple(since)
        else:
            told = [_fact(one) for one in record["events"]]
            contacts[record["contact_id"]] = Contact(record["contact_id"], record["customer_id"], told)
    return contacts, tiers


def _fact(told: Content) -> Fact:
    return facts.fact(_us(told["time"]), told["source"], told["id"], told["type"], told["data"])


def _us(text: str) -> int:
    return to_us(datetime.fromisoformat(text))
