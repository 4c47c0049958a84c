"""Whatever is sent: never a failure of ours, and what is taken can be read again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import decode_from_outside
from schemas.events import EVENT_TYPES
from schemas.refusals import Refusal
from tests.streams.gateway.conftest import Pipeline, event, opened


class Sent(NamedTuple):
    body: bytes
    headers: dict[str, str]


TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(["", "2026-11-21T10:00:00", "+10000-01-01T00:00:00Z", "c-17"]))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
FIELDS = st.sampled_from(["specversion", "id", "source", "type", "time", "subject", "data"])
DATA_FIELDS = st.sampled_from(["customer_id", "channel", "sender", "recipient", "direction", "into", "score", "reason"])
HEADER_TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An event of any type with some fields replaced and some taken away."""
    content = event(draw(st.integers(0, 9)), type=draw(st.sampled_from(sorted(EVENT_TYPES))))
    content |= draw(st.dictionaries(FIELDS, VALUES, max_size=2))
    if isinstance(content["data"], dict):
        content["data"] |= draw(st.dictionaries(DATA_FIELDS, VALUES, max_size=2))
    for name in draw(st.sets(FIELDS, max_size=1)):
        content.pop(name, None)
    return content


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Anything from noise to a good array of events."""
    content = draw(st.one_of(events(), VALUES, st.lists(st.one_of(events(), VALUES), max_size=3)))
    text = orjson.dumps(content)
    cut = draw(st.one_of(st.none(), st.integers(0, len(text))))
    return draw(st.one_of(st.just(text if cut is None else text[:cut]), st.binary(max_size=60)))


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """A body with headers that may or may not fit it."""
    media = ["application/json", "application/cloudevents+json", 'application/json; charset="x', "text/plain", ";;"]
    headers = {"Content-Type": draw(st.sampled_from(media[:1] * 6 + media))}
    if draw(st.booleans()):
        attributes = {name: str(value) for name, value in event().items() if name != "data"}
        attributes |= draw(st.dictionaries(st.one_of(FIELDS, st.just("extension")), HEADER_TEXTS, max_size=2))
        headers |= {f"ce-{name}": value for name, value in attributes.items()}
        if draw(st.booleans()):
            return Sent(orjson.dumps(draw(VALUES)), headers)
    if draw(st.integers(0, 9)) == 0:
        headers["Content-Encoding"] = draw(st.sampled_from(["gzip", "deflate", "identity", "br", "made-up"]))
    return Sent(draw(bodies()), headers)


@settings(max_examples=60)
@given(st.lists(requests(), min_size=1, max_size=15))
def test_no_body_makes_us_fail_and_all_that_is_taken_can_be_read(sent: list[Sent]) -> None:
    asyncio.run(_send(sent))


async def _send(requests_: Sequence[Sent]) -> None:
    pipeline = Pipeline()
    async with opened(pipeline.gateway()) as client:
        for body, headers in requests_:
            before = len(pipeline.published)
            async with client.post("/v1/events", data=body, headers=headers) as response:
                assert response.status in (202, 400, 413, 415, 422), (response.status, body, headers)
                taken = (await response.json())["ids"] if response.status == 202 else []
            assert [publish.event_id for publish in pipeline.published[before:]] == taken
    for publish in pipeline.published:
        read = decode_from_outside(publish.value, publish.headers)
        assert not isinstance(read, Refusal)
        assert read.id == publish.event_id
