"""Wake-ups: `deadline.reached`, from the due index into a contact's own partition, and from nowhere else.

A wake-up is a hint: only its time matters, the engine recomputes the rest (DESIGN section 2, point 3).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import orjson

from schemas.events import WAKE_UP
from streams.engine.calendar import to_us
from streams.engine.outcome import instant_text, record_id
from streams.track.due import JOURNEYS_OF
from streams.transport import Record

SOURCE: Final = "/heardback"
SOURCE_OF_JOURNEYS: Final = "/heardback/journeys"


def wake_up(name: str, wake_us: int, now: datetime) -> Record:
    """The record that has a contact, or a customer's journeys, looked at; its time says how far time has
    passed: always beyond the instant that was waited for."""
    subject = name.removeprefix(JOURNEYS_OF)
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": record_id(name, instant_text(wake_us)),
        "source": SOURCE if subject == name else SOURCE_OF_JOURNEYS,
        "type": WAKE_UP,
        "time": instant_text(max(to_us(now), wake_us + 1)),
        "subject": subject,
        "data": {},
    }
    return Record(key=record_id(name).encode(), value=orjson.dumps(event), timestamp_ms=to_us(now) // 1_000)
