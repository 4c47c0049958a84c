"""Records as earlier versions wrote them stay readable, and nothing that they said is lost.

`golden/` holds the bytes of the day on which a record got its shape. Add files; never change one: what they say lies
in the topics of whoever runs heardback.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from schemas.codec import decode
from schemas.dead_letters import from_record, to_headers
from schemas.events import to_json
from schemas.refusals import Refusal
from tests.schemas.examples import ADAPTERS, TYPES

GOLDEN = Path(__file__).parent / "golden"
RECORDS = {
    "acknowledgements": "acknowledgement",
    "alerts": "alert",
    "customers": "customer",
    "deliveries": "delivery",
    "health": "health",
    "journeys": "journey",
    "outcomes": "outcome",
    "policies": "policy",
}


def lines(name: str) -> list[bytes]:
    return (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()


def lost(written: Any, read: Any, where: str = "") -> Iterator[str]:
    """What `written` says and `read` does not."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            yield from lost(value, read.get(key), f"{where}.{key}")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for index, (one, other) in enumerate(zip(written, read, strict=True)):
            yield from lost(one, other, f"{where}[{index}]")
    elif written != read:
        yield f"{where}: {written!r} became {read!r}"


@pytest.mark.parametrize("name", RECORDS)
def test_records_of_a_topic_stay_readable_with_all_that_they_say(name: str) -> None:
    adapter: TypeAdapter[Any] = ADAPTERS[RECORDS[name]]
    assert lines(name)
    for line in lines(name):
        read = json.loads(adapter.dump_json(adapter.validate_json(line)))
        assert list(lost(json.loads(line), read)) == []


def test_contact_events_of_every_type_stay_readable_with_all_that_they_say() -> None:
    kinds = []
    for line in lines("contact-events"):
        event = decode(line)
        assert not isinstance(event, Refusal), event
        assert list(lost(json.loads(line), json.loads(to_json(event)))) == []
        kinds.append(event.type)
    assert sorted(kinds) == TYPES


def test_dead_letters_stay_readable_with_their_original_bytes() -> None:
    for line in lines("dead-letters"):
        record = json.loads(line)
        value = record["value"].encode("latin-1")
        headers = [(name, content.encode("latin-1")) for name, content in record["headers"]]
        letter = from_record(value, headers)
        assert (letter.value, letter.origin) == (value, record["key"])
        assert to_headers(letter) == headers
