"""What is read at a glance is what `decode` reads; whatever `decode` refuses, no glance takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode
from schemas.events import EVENT_DATA, WAKE_UP
from schemas.glance import glance
from schemas.refusals import Refusal
from streams.engine.timeline import fact_of, glanced

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples" / "events"
WORDS = st.sampled_from(
    ["T-1", "", " ", " T", "T ", "a\tb", "a\x7f", "\u00a0", "é", "\u2028", "customer", "agent", "ticket", "form",
     "high", "inbound", "outbound", "spam", "on_hold", "x" * 512, "x" * 513, "x" * 4_000, "x" * 4_001]
)  # fmt: skip
INSTANTS = st.sampled_from(
    ["2026-03-02T09:00:00Z", "2026-03-02T09:00:00.5Z", "2026-03-02T09:00:00.123456Z", "2026-03-02T09:00:00.1234567Z",
     "2026-03-02T09:00:60Z", "2026-03-02T24:00:00Z", "2026-02-30T09:00:00Z", "2026-03-02T09:00:00+01:00",
     "2026-03-02T09:00:00", "2026-03-02 09:00:00Z", "2026-03-02T09:00Z", "2026-W10-1T09:00:00Z", "1989-12-31T23:59:59Z",
     "1990-01-01T00:00:00Z", "2199-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "٢٠٢٦-03-02T09:00:00Z"]
)  # fmt: skip
VALUES = st.one_of(
    WORDS, INSTANTS, st.none(), st.booleans(), st.integers(-1, 2), st.floats(allow_nan=False), st.just([]), st.just({})
)
FIELDS = sorted({name for data in EVENT_DATA.values() for name in data.model_fields} | {"unknown"})
RIGHT = {"channel": "ticket", "direction": "outbound", "reason": "spam", "customer_id": "c-1"}


def event(kind: str, **data: Any) -> dict[str, Any]:
    """An event that is taken, where `data` is right."""
    return {
        "specversion": "1.0", "id": "e-1", "source": "/test", "type": kind, "time": "2026-03-02T09:00:00Z",
        "subject": "T-1", "data": data,
    }  # fmt: skip


def must_agree(value: bytes) -> bool:
    """Whether it was taken at a glance; then it must be what `decode` takes."""
    seen = glance(value)
    if seen is None:
        return False
    read = decode(value)
    assert not isinstance(read, Refusal), read
    assert seen.subject == read.subject
    if seen.type != WAKE_UP:
        assert glanced(seen) == fact_of(read)
        assert list(seen.data) == list(fact_of(read).data)
    assert (seen.type, seen.source, seen.id, seen.time) == (read.type, read.source, read.id, read.time)
    return True


@given(
    kind=st.sampled_from(sorted(EVENT_DATA)),
    data=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6),
    right=st.booleans(),
    wrong=st.dictionaries(
        st.sampled_from(["specversion", "id", "source", "type", "time", "subject", "data", "unknown"]),
        st.one_of(VALUES, st.just(None)), max_size=1,
    ),
)  # fmt: skip
def test_whatever_is_taken_at_a_glance_is_taken_alike_by_decode(
    kind: str, data: dict[str, Any], right: bool, wrong: dict[str, Any]
) -> None:
    told = event(kind, **{**data, **RIGHT} if right else data) | wrong
    must_agree(orjson.dumps(told))


@pytest.mark.parametrize("kind", sorted(EVENT_DATA))
def test_the_usual_event_is_taken_at_a_glance_unless_its_type_is_rare(kind: str) -> None:
    told = event(kind, **RIGHT)
    if kind in ("contact.paused", "contact.resumed"):
        told["data"]["reason"] = "on_hold"
    assert must_agree(orjson.dumps(told)) == (kind not in ("contact.linked", "contact.merged", "contact.rated"))


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"{", b"[]", b"null", b'"text"', b"\xef\xbb\xbf{}", b"\xff",
        b'{"specversion":"1.0","id":"e","source":"s","type":"message.received","time":"2026-03-02T09:00:00Z",'
        b'"subject":"T","data":{"x":' + b"[" * 250 + b"]" * 250 + b',"x":1}}',
        b'{"specversion":"1.0","id":"e","source":"s","type":"message.received","time":"2026-03-02T09:00:00Z",'
        b'"subject":"T","data":{"message_id":"m","message_id":5}}',
    ],
    ids=["nothing", "empty", "broken", "list", "null", "text", "byte-order-mark", "no-utf-8", "too-deep", "twice"],
)  # fmt: skip
def test_what_is_no_event_or_an_unusual_one_is_left_to_decode(value: bytes | None) -> None:
    assert glance(value) is None


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_the_examples_are_read_alike(example: Path) -> None:
    value = example.read_bytes()
    assert must_agree(value) or glance(value) is None
