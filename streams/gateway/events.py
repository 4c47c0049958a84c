"""From the body of a request to records that can be published, or to every fault in it.

One event or an array in structured mode, one event in binary mode (CloudEvents HTTP binding 1.0, section
3.1). All or nothing: a single fault, and nothing is to be published. Reading bodies off the wire and
answering belong to `intake`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote_to_bytes

import orjson
from pydantic import ValidationError

from schemas.codec import BOM, decode_from_outside, refusal_of
from schemas.events import EVENT, Event
from schemas.refusals import Reason, Refusal
from streams.gateway.service import Publish
from streams.transport import Headers, Pace

FAULTS_MAX: Final = 1_000
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_ATTRIBUTE: Final = re.compile(r"ce-([a-z0-9]+)")
# Numbers stay text: only where a value ends is of interest, and huge ones cost nothing.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str)
# After these refusals the other fields of the event can be looked at too.
_OF_A_FIELD: Final = frozenset(
    {Reason.MISSING_FIELD, Reason.INVALID_FIELD, Reason.UNKNOWN_VALUE, Reason.NAIVE_INSTANT, Reason.ABSURD_INSTANT}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one event of a request; `index` counts from 0 and is None for the whole body."""

    index: int | None
    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What else must hold of an event, as `service.Gateway` says: C19's customer, C20's instants."""

    customer_of: Callable[[Event], str | None]
    now: datetime
    ahead: timedelta
    late_after: timedelta


@dataclass(slots=True)
class Reading:
    """What a body came to. `complete` is False where faults beyond the first 1,000 were not looked for."""

    accepted: list[Publish] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    complete: bool = True


async def read(body: bytes, headers: Headers, rules: Rules) -> Reading:
    """Reads a whole body; `headers` are the `ce_*` ones in binary mode, else empty. Lets others run meanwhile."""
    reading, pace = Reading(), Pace()
    values = _values(body, binary=bool(headers))
    if isinstance(values, Refusal):
        reading.faults.append(Fault(None, values))
        return reading
    for index, value in enumerate(values):
        found = value if isinstance(value, Refusal) else _accepted(value, headers, rules)
        if isinstance(found, Publish):
            reading.accepted.append(found)
        else:
            refusals = [found] if isinstance(found, Refusal) else found
            reading.faults += [Fault(index, refusal) for refusal in refusals]
        if len(reading.faults) >= FAULTS_MAX:
            reading.complete = False
            break
        await pace()
    return reading


def attributes_of(headers: Iterable[tuple[str, str]]) -> Headers:
    """The CloudEvents attributes among HTTP headers, as a record carries them; empty: structured mode."""
    found: dict[str, bytes] = {}
    for name, value in headers:
        attribute = _ATTRIBUTE.fullmatch(name.lower())
        if attribute:
            found[f"ce_{attribute[1]}"] = unquote_to_bytes(value.encode("utf-8", "surrogateescape"))
    return tuple(found.items()) if "ce_specversion" in found else ()


def _values(body: bytes, *, binary: bool) -> Iterable[bytes | Refusal] | Refusal:
    """The bytes of each event, or why there is none. What is JSON is decided once, strictly, for all of it."""
    body = body.removeprefix(BOM)
    try:
        text = body.decode()
        orjson.loads(body)
    except UnicodeDecodeError as broken:
        detail = f"found bytes that are not UTF-8 at {broken.start}: {broken.reason}"
        return Refusal(reason=Reason.BROKEN_ENCODING, detail=detail)
    except orjson.JSONDecodeError as broken_json:
        return Refusal(reason=Reason.BROKEN_JSON, detail=str(broken_json)[:200])
    if binary or not text.lstrip(" \t\r\n").startswith("["):
        return [body]
    return _elements(text)


def _elements(text: str) -> Iterator[bytes | Refusal]:
    """The elements of a JSON array, each as it was written."""
    position = _after_blank(text, text.index("[") + 1)
    while text[position] != "]":
        try:
            _, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            yield Refusal(reason=Reason.BROKEN_JSON, detail="found values nested too deeply")
            return
        yield text[position:end].encode()
        position = _after_blank(text, end)
        if text[position] == ",":
            position = _after_blank(text, position + 1)


def _after_blank(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    assert blank is not None
    return blank.end()


def _accepted(value: bytes, headers: Headers, rules: Rules) -> Publish | Refusal | list[Refusal]:
    event = decode_from_outside(value, headers)
    if isinstance(event, Refusal):
        if event.field in ("specversion", "type") and event.reason != Reason.RESERVED_TYPE:
            return [event, *_of_the_envelope(value, headers)]
        return _every_fault(value, headers, event) if event.reason in _OF_A_FIELD else event
    refusal = _against_time(event, rules)
    customer_id = rules.customer_of(event)
    if refusal is None and customer_id is not None:
        return Publish(event_id=event.id, key=customer_id.encode(), value=value, headers=headers)
    missing = Refusal(
        reason=Reason.NO_CUSTOMER,
        detail="found neither customer_id nor an address or handle of the customer, wanted one of them",
        field="data.customer_id",
    )
    return [found for found in (refusal, missing if customer_id is None else None) if found]


def _every_fault(value: bytes, headers: Headers, first: Refusal) -> list[Refusal]:
    """All that is wrong with an event's fields; `first` is what the codec found."""
    try:
        if headers:
            EVENT.validate_python(_envelope(value, headers))
        else:
            EVENT.validate_json(value)
    except ValidationError as invalid:
        return [refusal_of(error) for error in invalid.errors(include_url=False)]
    except ValueError:
        pass
    return [first]


def _of_the_envelope(value: bytes, headers: Headers) -> list[Refusal]:
    """What else is wrong with an event whose type or version nobody knows; what its data should hold cannot be said."""
    try:
        found = _envelope(value, headers) if headers else orjson.loads(value.removeprefix(BOM))
        if isinstance(found, dict) and found.keys() & {"id", "source", "type"}:
            EVENT.validate_json(orjson.dumps({**found, "specversion": "1.0", "type": "message.received"}))
    except ValidationError as invalid:
        refusals = [refusal_of(error) for error in invalid.errors(include_url=False)]
        return [refusal for refusal in refusals if not (refusal.field or "").startswith("data.")]
    except (ValueError, TypeError):
        pass
    return []


def _envelope(value: bytes, headers: Headers) -> Mapping[str, object]:
    return {**{name.removeprefix("ce_"): content.decode() for name, content in headers}, "data": orjson.loads(value)}


def _against_time(event: Event, rules: Rules) -> Refusal | None:
    """C20, measured from now: the log appends it in a moment."""
    if event.time - rules.now > rules.ahead:
        detail = f"time: found {_text(event.time)}, wanted at most {_text(rules.now + rules.ahead)}"
        return Refusal(reason=Reason.FROM_THE_FUTURE, detail=detail, field="time")
    if rules.now - event.time > rules.late_after:
        detail = f"time: found {_text(event.time)}, wanted at least {_text(rules.now - rules.late_after)}"
        return Refusal(reason=Reason.TOO_LATE, detail=detail, field="time")
    return None


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
