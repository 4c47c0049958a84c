"""From a record's bytes to an event, or to a named refusal. Both CloudEvents modes are read.

Structured mode has the whole envelope as the value; binary mode has the attributes in `ce_*` headers and
the data as the value (CloudEvents Kafka protocol binding 1.0, section 3). Where a record comes from, and
what happens to a refused one, is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.events import EVENT, EVENT_TYPES, WAKE_UP, Event
from schemas.refusals import Reason, Refusal

RECORD_BYTES_MAX: Final = 1_000_000
BOM: Final = b"\xef\xbb\xbf"
Headers = Sequence[tuple[str, bytes]]


def decode(value: bytes | None, headers: Headers = ()) -> Event | Refusal:
    """The event in a record of topic `contact-events`, or why it is refused. Never raises."""
    if value is None:
        return Refusal(reason=Reason.NOT_AN_OBJECT, detail="found an empty record, wanted a CloudEvent")
    if len(value) > RECORD_BYTES_MAX:
        detail = f"found {len(value)} bytes, wanted at most {RECORD_BYTES_MAX}"
        return Refusal(reason=Reason.RECORD_TOO_LARGE, detail=detail)
    if (b"NaN" in value or b"Infinity" in value) and not _is_json(value):
        return _refusal_of_broken(value)
    if headers and any(name == "ce_specversion" for name, _ in headers):
        return _decode_binary(value, headers)
    if b'"specversion"' not in value:
        return _refusal_of_broken(value)
    try:
        return EVENT.validate_json(value.removeprefix(BOM))
    except ValidationError as invalid:
        return _refusal(value, invalid)


def decode_from_outside(value: bytes | None, headers: Headers = ()) -> Event | Refusal:
    """`decode` for senders other than ourselves: nobody outside may send a wake-up."""
    event = decode(value, headers)
    if not isinstance(event, Refusal) and event.type == WAKE_UP:
        return Refusal(reason=Reason.RESERVED_TYPE, detail=f"found type {WAKE_UP}, which is internal", field="type")
    return event


def _is_json(value: bytes) -> bool:
    """Whether it is JSON by RFC 8259: pydantic takes NaN and Infinity too, in fields that it ignores."""
    try:
        orjson.loads(value.removeprefix(BOM))
    except orjson.JSONDecodeError:
        return False
    return True


def _decode_binary(value: bytes, headers: Headers) -> Event | Refusal:
    try:
        envelope: dict[str, Any] = {
            name[3:]: content.decode() for name, content in headers if name.startswith("ce_") and content is not None
        }
        envelope["data"] = orjson.loads(value.removeprefix(BOM))
    except UnicodeDecodeError as broken:
        return Refusal(reason=Reason.BROKEN_ENCODING, detail=f"found a header that is not UTF-8: {broken.reason}")
    except orjson.JSONDecodeError:
        return _refusal_of_broken(value)
    try:
        whole = orjson.dumps(envelope)
    except orjson.JSONEncodeError:
        return Refusal(reason=Reason.BROKEN_JSON, detail="data: found values nested too deeply", field="data")
    try:
        return EVENT.validate_json(whole)
    except ValidationError as invalid:
        return _refusal(whole, invalid)


def _refusal_of_broken(value: bytes) -> Refusal:
    try:
        value.decode()
    except UnicodeDecodeError as broken:
        detail = f"found bytes that are not UTF-8 at {broken.start}: {broken.reason}"
        return Refusal(reason=Reason.BROKEN_ENCODING, detail=detail)
    try:
        content = orjson.loads(value.removeprefix(BOM))
    except orjson.JSONDecodeError as broken_json:
        return Refusal(reason=Reason.BROKEN_JSON, detail=str(broken_json)[:200])
    if not isinstance(content, dict):
        return Refusal(reason=Reason.NOT_AN_OBJECT, detail="found JSON that is no object, wanted a CloudEvent")
    detail = "found no CloudEvents 1.0 envelope, wanted specversion 1.0, id, source, type, time, subject, data"
    return Refusal(reason=Reason.NOT_CLOUDEVENTS, detail=detail, field="specversion")


def _refusal(value: bytes, invalid: ValidationError) -> Refusal:
    try:
        content = orjson.loads(value.removeprefix(BOM))
    except orjson.JSONDecodeError:
        return _refusal_of_broken(value)
    if not isinstance(content, dict):
        return _refusal_of_broken(value)
    if content.get("specversion", "1.0") != "1.0" or not {"id", "source", "type"} & content.keys():
        return _refusal_of_broken(value)
    if "type" not in content:
        return Refusal(reason=Reason.MISSING_FIELD, detail="type: Field required", field="type")
    kind = content["type"]
    if not (isinstance(kind, str) and kind in EVENT_TYPES):
        return Refusal(reason=Reason.UNKNOWN_TYPE, detail=f"found type {str(kind)[:100]!r}", field="type")
    return refusal_of(invalid.errors(include_url=False, include_context=True)[0])


# What pydantic says, and which of our reasons that is; anything else is an invalid field.
_REASONS: Final = {
    "json_invalid": Reason.BROKEN_JSON,
    "missing": Reason.MISSING_FIELD,
    "timezone_aware": Reason.NAIVE_INSTANT,
    "absurd_instant": Reason.ABSURD_INSTANT,
    "enum": Reason.UNKNOWN_VALUE,
    "literal_error": Reason.UNKNOWN_VALUE,
}


def refusal_of(error: ErrorDetails) -> Refusal:
    """The refusal for one of pydantic's errors. The found value is not repeated: it may be personal."""
    reason = _REASONS.get(error["type"], Reason.INVALID_FIELD)
    path = [str(part) for part in error["loc"] if part not in EVENT_TYPES]
    field = ".".join(path) or None
    return Refusal(reason=reason, detail=f"{field or 'record'}: {error['msg']}", field=field)
