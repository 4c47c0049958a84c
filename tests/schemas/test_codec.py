"""What is refused, and by which word; what the world may add without being refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.codec import RECORD_BYTES_MAX, decode, decode_from_outside, refusal_of
from schemas.events import ID_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, WAKE_UP
from schemas.refusals import Reason, Refusal
from tests.schemas.examples import ADAPTERS, PLACES, TYPES, Where, binary, dotted, example, put, structured


def written(kind: str, path: Where = (), value: Any = None) -> bytes:
    content = structured(kind)
    return json.dumps(put(content, path, value) if path else content).encode()


def refused(record: bytes | None, headers: list[tuple[str, bytes]] | None = None) -> Refusal:
    refusal = decode(record, headers or ())
    assert isinstance(refusal, Refusal), refusal
    return refusal


WRONG_VALUES = [
    ("contact.opened", ("time",), "2026-11-21T10:00:00", Reason.NAIVE_INSTANT),
    ("contact.opened", ("time",), "2026-11-21", Reason.INVALID_FIELD),
    ("contact.opened", ("time",), "1763719200", Reason.INVALID_FIELD),
    ("contact.opened", ("time",), 1763719200, Reason.INVALID_FIELD),
    ("contact.opened", ("time",), None, Reason.INVALID_FIELD),
    ("contact.opened", ("time",), "2026-02-30T10:00:00Z", Reason.INVALID_FIELD),
    ("contact.opened", ("time",), "2026-11-21T25:00:00Z", Reason.INVALID_FIELD),
    ("contact.opened", ("time",), "1970-01-01T00:00:00Z", Reason.ABSURD_INSTANT),
    ("contact.opened", ("time",), "0001-01-01T00:00:00+14:00", Reason.ABSURD_INSTANT),
    ("contact.opened", ("time",), "9999-12-31T23:59:59-12:00", Reason.ABSURD_INSTANT),
    ("contact.opened", ("id",), "", Reason.INVALID_FIELD),
    ("contact.opened", ("id",), "   ", Reason.INVALID_FIELD),
    ("contact.opened", ("id",), 17, Reason.INVALID_FIELD),
    ("contact.opened", ("id",), "x" * (ID_CHARACTERS_MAX + 1), Reason.INVALID_FIELD),
    ("contact.opened", ("subject",), "T-1\0first_response", Reason.INVALID_FIELD),
    ("contact.opened", ("subject",), "T-1\nT-2", Reason.INVALID_FIELD),
    ("contact.opened", ("data", "customer_id"), "", Reason.INVALID_FIELD),
    ("contact.opened", ("data", "customer_id"), 17, Reason.INVALID_FIELD),
    ("contact.opened", ("data", "channel"), "fax", Reason.UNKNOWN_VALUE),
    ("contact.opened", ("data", "channel"), "Ticket", Reason.UNKNOWN_VALUE),
    ("contact.opened", ("data", "priority"), "p1", Reason.UNKNOWN_VALUE),
    ("contact.opened", ("data", "opened_by"), "robot", Reason.UNKNOWN_VALUE),
    ("contact.opened", ("data", "summary"), "x" * (TEXT_CHARACTERS_MAX + 1), Reason.INVALID_FIELD),
    ("contact.opened", ("data",), None, Reason.INVALID_FIELD),
    ("contact.opened", ("data",), [], Reason.INVALID_FIELD),
    ("contact.opened", ("data",), "aGVsbG8=", Reason.INVALID_FIELD),
    ("message.received", ("data", "automated"), "false", Reason.INVALID_FIELD),
    ("message.received", ("data", "automated"), 0, Reason.INVALID_FIELD),
    ("message.received", ("data", "automated"), None, Reason.INVALID_FIELD),
    ("message.sent", ("data", "public"), "no", Reason.INVALID_FIELD),
    ("message.bounced", ("data", "direction"), "sideways", Reason.UNKNOWN_VALUE),
    ("message.bounced", ("data", "permanent"), "yes", Reason.INVALID_FIELD),
    ("contact.paused", ("data", "reason"), "lunch", Reason.UNKNOWN_VALUE),
    ("contact.resolved", ("data", "by"), "nobody", Reason.UNKNOWN_VALUE),
    ("contact.merged", ("data", "into"), "", Reason.INVALID_FIELD),
    ("contact.linked", ("data", "contact_id"), None, Reason.INVALID_FIELD),
    ("contact.voided", ("data", "reason"), "boring", Reason.UNKNOWN_VALUE),
    ("contact.rated", ("data", "score"), "0.5", Reason.INVALID_FIELD),
    ("contact.rated", ("data", "score"), True, Reason.INVALID_FIELD),
    ("contact.rated", ("data", "score"), 1.01, Reason.INVALID_FIELD),
    ("contact.rated", ("data", "score"), -0.01, Reason.INVALID_FIELD),
    ("contact.rated", ("data", "score"), None, Reason.INVALID_FIELD),
    ("contact.rated", ("type",), "contact.enjoyed", Reason.UNKNOWN_TYPE),
    ("contact.rated", ("type",), "", Reason.UNKNOWN_TYPE),
    ("contact.rated", ("type",), None, Reason.UNKNOWN_TYPE),
    ("contact.rated", ("type",), ["contact.rated"], Reason.UNKNOWN_TYPE),
    ("contact.rated", ("specversion",), "0.3", Reason.NOT_CLOUDEVENTS),
    ("contact.rated", ("specversion",), 1.0, Reason.NOT_CLOUDEVENTS),
]


@pytest.mark.parametrize(("kind", "path", "value", "reason"), WRONG_VALUES)
def test_a_wrong_value_is_refused_by_the_name_of_the_mistake_and_of_the_field(
    kind: str, path: Where, value: Any, reason: Reason
) -> None:
    refusal = refused(written(kind, path, value))
    assert (refusal.reason, refusal.field) == (reason, dotted(path))


@pytest.mark.parametrize(
    ("instant", "absurd"),
    [
        ("1990-01-01T00:00:00Z", False),
        ("1989-12-31T23:00:00-01:00", False),
        ("1990-01-01T00:59:59+01:00", True),
        ("2199-12-31T23:59:59.999999Z", False),
        ("2200-01-01T00:59:59+01:00", False),
        ("2199-12-31T23:00:00-01:00", True),
        ("2200-01-01T00:00:00Z", True),
    ],
)
def test_an_instant_is_absurd_by_when_it_was_and_not_by_the_date_of_its_zone(instant: str, absurd: bool) -> None:
    found = decode(written("contact.opened", ("time",), instant))
    assert (isinstance(found, Refusal) and found.reason == Reason.ABSURD_INSTANT) == absurd


@pytest.mark.parametrize(("kind", "path", "value", "reason"), [case for case in WRONG_VALUES if case[1][0] == "data"])
def test_so_it_is_in_binary_mode(kind: str, path: Where, value: Any, reason: Reason) -> None:
    headers = [(name, content.encode()) for name, content in binary(kind)[0].items()]
    data = json.dumps(put({"data": binary(kind)[1]}, path, value)["data"]).encode()
    assert refused(data, headers).reason == reason


@pytest.mark.parametrize("length", [1, ID_CHARACTERS_MAX])
def test_ids_up_to_the_longest_are_read_as_they_are(length: int) -> None:
    event = decode(written("contact.opened", ("subject",), "ü" * length))
    assert not isinstance(event, Refusal)
    assert event.subject == "ü" * length


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, Reason.NOT_AN_OBJECT),
        (b"", Reason.BROKEN_JSON),
        (b"{", Reason.BROKEN_JSON),
        (b'{"specversion": "1.0", ', Reason.BROKEN_JSON),
        (b"null", Reason.NOT_AN_OBJECT),
        (b'"specversion"', Reason.NOT_AN_OBJECT),
        (b"[" + written("contact.closed") + b"]", Reason.NOT_AN_OBJECT),
        (b"{}", Reason.NOT_CLOUDEVENTS),
        (b'{"specversion": "1.0"}', Reason.NOT_CLOUDEVENTS),
        (b'{"ticket": {"status": "open"}}', Reason.NOT_CLOUDEVENTS),
        (b"<?xml version='1.0'?>", Reason.BROKEN_JSON),
        (written("contact.closed") + b"x", Reason.BROKEN_JSON),
        (written("contact.closed").decode().encode("utf-16"), Reason.BROKEN_ENCODING),
        (written("contact.closed").replace(b"c-17", "Müller".encode("latin-1")), Reason.BROKEN_ENCODING),
        (written("contact.closed").replace(b"c-17", b"\\ud800"), Reason.BROKEN_JSON),
        (written("contact.rated").replace(b"0.25", b"NaN"), Reason.BROKEN_JSON),
        (written("contact.rated").replace(b"0.25", b"Infinity"), Reason.BROKEN_JSON),
        (written("contact.rated").replace(b"0.25", b"1e999"), Reason.BROKEN_JSON),
        (written("contact.rated").replace(b"0.25", b"[" * 100_000 + b"]" * 100_000), Reason.BROKEN_JSON),
        (written("contact.closed").replace(b'"data"', b'"x": ' + b"[" * 1_000 + b"]" * 1_000 + b', "data"'),
         Reason.BROKEN_JSON),
        (written("contact.opened", ("data", "summary"), "x" * 10_000_000), Reason.RECORD_TOO_LARGE),
        (b"\0" * (RECORD_BYTES_MAX + 1), Reason.RECORD_TOO_LARGE),
    ],
)  # fmt: skip
def test_what_is_no_cloudevent_is_refused_by_what_it_is(record: bytes | None, reason: Reason) -> None:
    assert refused(record).reason == reason


@pytest.mark.parametrize("kind", TYPES)
def test_unknown_further_fields_are_ignored(kind: str) -> None:
    grown = structured(kind)
    grown |= {"dataschema": "https://example.com", "traceparent": "00-ab", "new": {"deep": [1]}}
    grown["data"] |= {"sentiment": 0.1, "future": None}
    assert decode(json.dumps(grown).encode()) == decode(written(kind))


@pytest.mark.parametrize("name", PLACES)
def test_so_it_is_for_every_other_record_but_in_the_configuration_it_is_a_spelling_mistake(name: str) -> None:
    adapter = ADAPTERS[PLACES[name]]
    grown = json.dumps({**example(name), "new": {"deep": [1]}})
    if name == "configuration":
        with pytest.raises(ValidationError, match="new"):
            adapter.validate_json(grown)
    else:
        assert adapter.validate_json(grown) == adapter.validate_json(json.dumps(example(name)))


@pytest.mark.parametrize(
    ("name", "path", "value", "reason"),
    [
        ("outcome", ("due_at",), "2026-11-21T10:00:00", Reason.NAIVE_INSTANT),
        ("outcome", ("verdict",), "fine", Reason.UNKNOWN_VALUE),
        ("outcome", ("reason",), "because", Reason.UNKNOWN_VALUE),
        ("outcome", ("target",), "delight", Reason.UNKNOWN_VALUE),
        ("outcome", ("revision",), 0, Reason.INVALID_FIELD),
        ("outcome", ("open_seconds",), -1, Reason.INVALID_FIELD),
        ("outcome", ("contact_id",), "", Reason.INVALID_FIELD),
        ("journey", ("state",), "lost", Reason.UNKNOWN_VALUE),
        ("journey", ("attempts", 0, "dead_end"), "swallowed", Reason.UNKNOWN_VALUE),
        ("journey", ("attempts", 0, "at"), "2026-11-21T10:00:00", Reason.NAIVE_INSTANT),
        ("alert", ("kind",), "panic", Reason.UNKNOWN_VALUE),
        ("alert", ("severity",), "info", Reason.UNKNOWN_VALUE),
        ("alert", ("alert_id",), "", Reason.INVALID_FIELD),
        ("alert", ("at",), 1763719200, Reason.INVALID_FIELD),
        ("delivery", ("number",), 0, Reason.INVALID_FIELD),
        ("customer", ("customer_id",), " ", Reason.INVALID_FIELD),
        ("customer", ("customer_id",), 17, Reason.INVALID_FIELD),
        ("customer", ("annual_value",), -1, Reason.INVALID_FIELD),
        ("customer", ("currency",), "pounds", Reason.INVALID_FIELD),
        ("customer", ("identities",), "mailto:a@example.com", Reason.INVALID_FIELD),
        ("customer", ("identities",), ["x"] * 1_001, Reason.INVALID_FIELD),
        ("customer", ("stakeholders", 0, "power"), 6, Reason.INVALID_FIELD),
        ("policy", ("kind",), "wish", Reason.UNKNOWN_VALUE),
    ],
)
def test_wrong_values_in_other_records_are_refused_by_name(name: str, path: Where, value: Any, reason: Reason) -> None:
    with pytest.raises(ValidationError) as error:
        ADAPTERS[PLACES[name]].validate_json(json.dumps(put(example(name), path, value)))
    refusal = refusal_of(error.value.errors(include_url=False)[0])
    assert (refusal.reason, refusal.field) == (reason, dotted(path))


def test_nobody_outside_may_send_a_wake_up_in_either_mode() -> None:
    headers = [(name, content.encode()) for name, content in binary(WAKE_UP)[0].items()]
    for outside in (decode_from_outside(written(WAKE_UP)), decode_from_outside(b"{}", headers)):
        assert isinstance(outside, Refusal)
        assert outside.reason == Reason.RESERVED_TYPE
    assert not isinstance(decode(written(WAKE_UP)), Refusal)


def test_a_byte_order_mark_is_no_mistake_in_either_mode() -> None:
    bom = b"\xef\xbb\xbf"
    event = decode(written("contact.closed"))
    assert decode(bom + written("contact.closed")) == event
    headers = [(name, content.encode()) for name, content in binary("contact.closed")[0].items()]
    assert decode(bom + json.dumps(binary("contact.closed")[1]).encode(), headers) == event


def test_the_same_instant_in_any_zone_is_the_same() -> None:
    there = decode(written("contact.closed", ("time",), "2026-11-26T11:00:00+01:00"))
    assert there == decode(written("contact.closed", ("time",), "2026-11-26 10:00:00.000Z"))


@pytest.mark.parametrize("secret", ["Mr Private <private@example.com>", "x" * 100_000])
@pytest.mark.parametrize("path", [("id",), ("time",), ("data", "channel"), ("data", "summary"), ("type",)])
def test_a_refusal_stays_short_and_does_not_repeat_who_wrote(path: Where, secret: str) -> None:
    refusal = refused(written("contact.opened", path, [secret]))
    assert len(refusal.detail) < 500
    if path[-1] not in ("type", "time"):
        assert secret[:20] not in refusal.detail


def test_headers_that_are_not_utf8_are_refused() -> None:
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"\xff")]
    assert refused(b"{}", headers).reason == Reason.BROKEN_ENCODING


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(kind=st.sampled_from(TYPES), value=JSON_VALUES, data=st.data())
def test_whatever_stands_in_a_field_an_event_or_a_refusal_comes_back(
    kind: str, value: Any, data: st.DataObject
) -> None:
    content = structured(kind)
    paths: list[Where] = [(name,) for name in content] + [("data", name) for name in content["data"]]
    record = json.dumps(put(content, data.draw(st.sampled_from(paths)), value)).encode()
    result = decode(record)
    if isinstance(result, Refusal):
        assert result.detail
        assert "\n" not in result.detail


@given(st.binary(max_size=200), st.lists(st.tuples(st.sampled_from(["ce_specversion", "ce_id", "x"]), st.binary())))
def test_no_bytes_raise(record: bytes, headers: list[tuple[str, bytes]]) -> None:
    decode(record, headers)
    decode(b'{"specversion":' + record, headers)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_json_has_no_word_for_is_broken_json_also_in_a_field_that_nobody_reads(number: str) -> None:
    whole = json.dumps(structured("message.received"))
    assert refused(f'{whole[:-1]}, "extra": {number}}}'.encode()).reason == Reason.BROKEN_JSON
    headers = [(name, content.encode()) for name, content in binary("message.received")[0].items()]
    assert refused(f'{{"customer_id": "c", "extra": {number}}}'.encode(), headers).reason == Reason.BROKEN_JSON


def test_a_text_may_speak_of_nan_and_infinity() -> None:
    told = written("contact.opened", ("data", "summary"), "NaN of Infinity")
    assert not isinstance(decode(told), Refusal)


@pytest.mark.parametrize("depth", [210, 260, 900, 1_100])
def test_data_nested_too_deeply_is_refused_in_either_mode(depth: int) -> None:
    nested = b'{"customer_id": "c", "extra": ' + b"[" * depth + b"]" * depth + b"}"
    headers = [(name, content.encode()) for name, content in binary("message.received")[0].items()]
    assert refused(nested, headers).reason == Reason.BROKEN_JSON
    whole = json.dumps({**structured("message.received"), "data": 0}).replace('"data": 0', f'"data": {nested.decode()}')
    assert refused(whole.encode()).reason == Reason.BROKEN_JSON
