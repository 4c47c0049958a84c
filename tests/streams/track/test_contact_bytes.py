"""The bound of a contact: whatever its facts are, it fits into one record with everything that was published of it."""

from __future__ import annotations

from itertools import cycle
from typing import Any, Final

import pytest

from schemas.configuration import CONTACT_BYTES_MAX
from streams import settings
from streams.engine import timeline as facts
from streams.engine.calendar import SECOND_US
from streams.engine.outcome import Published, clock_digest
from streams.engine.reading import assess
from streams.engine.timeline import Contact, timelines
from streams.track.state import ContactState, decode_contact, encode_contact, fact_bytes
from streams.transport import RECORD_BYTES_MAX

POLICIES: Final = settings.policies_of(
    settings.parse(
        b"""
calendars: {always: {always_open: true}}
policies:
  - name: all
    calendar: always
    targets: {acknowledgement: 1h, first_response: 1h, next_response: 1h, resolution: 1h, update: 1h}
""",
        file="here",
    )
)
TALK: Final = ((facts.RECEIVED, {}), (facts.SENT, {}))
SILENCE: Final = ((facts.RECEIVED, {}), (facts.RESOLVED, {}))
AGAIN: Final = ((facts.RECEIVED, {}), (facts.RESOLVED, {}), (facts.REOPENED, {}))
QUOTES: Final = '"\\' * 60


@pytest.mark.parametrize("told", [TALK, SILENCE, AGAIN], ids=["talk", "silence", "again"])
@pytest.mark.parametrize("source", ["s", QUOTES, "\N{SNOWMAN}" * 100], ids=["short", "quotes", "not-ascii"])
def test_the_largest_contact_fits_into_one_record(told: tuple[tuple[str, dict[str, Any]], ...], source: str) -> None:
    contact = Contact("T-1", "c-1")
    size = 0
    for number, (kind, data) in enumerate(cycle(told)):
        item = facts.fact(number * SECOND_US, source, f"{number:x}", kind, data)
        size += fact_bytes(item)
        if size > CONTACT_BYTES_MAX:
            break
        contact.facts.append(item)
    [timeline] = timelines({"T-1": contact}).values()
    clocks = assess(timeline, POLICIES, (), len(contact.facts) * SECOND_US).clocks
    published = {
        f"{clock.target}:{clock.cycle}": Published(9, clock_digest(clock, "c-1", None), clock.verdict, True)
        for clock in clocks
    }
    assert len(published) > len(contact.facts) / 2
    state = ContactState(contact, "c-1", published=published)
    value = encode_contact(state, None, clocks)
    assert len(value) + 4_096 < RECORD_BYTES_MAX
    assert state.size_bytes <= CONTACT_BYTES_MAX
    assert decode_contact(value).size_bytes_at_most >= state.size_bytes


def test_a_bound_that_no_broker_takes_is_refused() -> None:
    with pytest.raises(settings.ConfigurationError, match=r"limits\.contact_bytes: Input should be less than or equal"):
        settings.parse(b"limits: {contact_bytes: 1000000}", file="here")
