"""Every record's example is read, follows its schema, and is refused when one required thing is taken away."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.codec import decode, refusal_of
from schemas.dead_letters import from_record, to_headers
from schemas.events import to_json
from schemas.policies import CalendarSpec, PolicySpec, content_hash
from schemas.refusals import Reason, Refusal
from tests.schemas.examples import (
    ADAPTERS,
    EXAMPLES,
    PLACES,
    TYPES,
    Where,
    binary,
    dotted,
    example,
    required_paths,
    structured,
    validator,
    without,
)

EVENT_PATHS = [
    pytest.param(kind, path, id=f"{kind}-{dotted(path)}")
    for kind in TYPES
    for path in required_paths("contact-event", structured(kind))
]
RECORD_PATHS = [
    pytest.param(name, path, id=f"{name}-{dotted(path)}")
    for name, schema in PLACES.items()
    for path in required_paths(schema, example(name))
]


def headers_of(kind: str) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in binary(kind)[0].items()]


def test_every_type_of_event_has_an_example_in_both_modes_and_no_example_is_left_over() -> None:
    found = {path.name for path in (EXAMPLES / "events").iterdir()}
    assert found == {f"{kind}{mode}.json" for kind in TYPES for mode in ("", ".binary")}
    assert {path.stem for path in EXAMPLES.glob("*.json")} == {*PLACES, "dead-letter"}


@pytest.mark.parametrize("kind", TYPES)
def test_an_event_in_structured_mode_is_read_with_all_that_it_says(kind: str) -> None:
    written = structured(kind)
    event = decode(json.dumps(written).encode())
    assert not isinstance(event, Refusal)
    assert json.loads(to_json(event)) == written
    validator("contact-event").validate(written)


@pytest.mark.parametrize("kind", TYPES)
def test_the_same_event_in_binary_mode_is_the_same_event(kind: str) -> None:
    event = decode(json.dumps(binary(kind)[1]).encode(), headers_of(kind))
    assert event == decode(json.dumps(structured(kind)).encode())


@pytest.mark.parametrize(("kind", "path"), EVENT_PATHS)
def test_an_event_without_one_required_thing_is_refused_by_name(kind: str, path: Where) -> None:
    lacking = without(structured(kind), path)
    refusal = decode(json.dumps(lacking).encode())
    assert isinstance(refusal, Refusal)
    if path == ("specversion",):
        assert (refusal.reason, refusal.field) == (Reason.NOT_CLOUDEVENTS, "specversion")
    else:
        assert refusal.reason == Reason.MISSING_FIELD
        assert refusal.field == dotted(path)
    assert not validator("contact-event").is_valid(lacking)


@pytest.mark.parametrize(("kind", "path"), EVENT_PATHS)
def test_so_it_is_in_binary_mode(kind: str, path: Where) -> None:
    headers, data = headers_of(kind), binary(kind)[1]
    if path[0] == "data":
        data = without(data, path[1:]) if path[1:] else None
    else:
        headers = [(name, value) for name, value in headers if name != f"ce_{path[0]}"]
    refusal = decode(json.dumps(data).encode(), headers)
    assert isinstance(refusal, Refusal)
    assert refusal.reason in (Reason.MISSING_FIELD, Reason.NOT_CLOUDEVENTS, Reason.INVALID_FIELD)
    assert (refusal.reason == Reason.NOT_CLOUDEVENTS) == (path == ("specversion",))
    assert (refusal.reason == Reason.INVALID_FIELD) == (path == ("data",))
    assert refusal.field == dotted(path)


@pytest.mark.parametrize("name", PLACES)
def test_every_other_record_is_read_and_follows_its_schema(name: str) -> None:
    written = example(name)
    ADAPTERS[PLACES[name]].validate_json(json.dumps(written))
    validator(PLACES[name]).validate(written)


@pytest.mark.parametrize(("name", "path"), RECORD_PATHS)
def test_every_other_record_without_one_required_thing_is_refused_by_name(name: str, path: Where) -> None:
    lacking = without(example(name), path)
    with pytest.raises(ValidationError) as refused:
        ADAPTERS[PLACES[name]].validate_json(json.dumps(lacking))
    refusal = refusal_of(refused.value.errors(include_url=False)[0])
    assert (refusal.reason, refusal.field) == (Reason.MISSING_FIELD, dotted(path))
    assert not validator(PLACES[name]).is_valid(lacking)


def test_there_are_required_things_in_each_example_but_the_configuration_needs_nothing_at_its_top() -> None:
    assert len(EVENT_PATHS) > 7 * len(TYPES)
    assert {name for name, _ in (case.values for case in RECORD_PATHS)} == set(PLACES)
    assert ADAPTERS["configuration"].validate_json(b"{}")


@pytest.mark.parametrize(("name", "spec"), [("policy", PolicySpec), ("policy-calendar", CalendarSpec)])
def test_a_policy_record_is_keyed_by_the_hash_of_its_content(name: str, spec: Any) -> None:
    record = example(name)
    assert record["hash"] == content_hash(spec.model_validate(record["content"]))


def dead_letter(**changed: str | None) -> list[tuple[str, bytes]]:
    headers = {**example("dead-letter")["headers"], **changed}
    return [(name, value.encode()) for name, value in headers.items() if value is not None]


def test_a_dead_letter_is_read_with_the_original_bytes_and_headers() -> None:
    record = example("dead-letter")
    validator("dead-letter-headers").validate(record["headers"])
    letter = from_record(record["value"].encode(), dead_letter())
    assert (letter.key, letter.value) == (b"c-17", record["value"].encode())
    assert letter.origin == record["key"]
    assert letter.headers == (("trace", b"abc"),)
    assert sorted(to_headers(letter)) == sorted(dead_letter())
    refusal = decode(letter.value)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.detail) == (letter.reason, letter.detail)


@pytest.mark.parametrize(("reason", "what"), [(None, "wanted reason"), ("no_such_reason", "no_such_reason")])
def test_a_record_that_is_no_dead_letter_says_so(reason: str | None, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        from_record(b"", dead_letter(reason=reason))
    headers = {name: value.decode() for name, value in dead_letter(reason=reason)}
    assert not validator("dead-letter-headers").is_valid(headers)
