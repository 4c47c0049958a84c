"""Everything bad that can stand on topic `contact-events`, with the reason it is refused for, and good events
between that must go through all the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from schemas.refusals import Reason
from streams.transport import Headers, Record
from tests.acceptance.heardback import ago, event

# A queue of its own has a calendar that is open for one more hour, ever; another queue has no policy.
CONFIGURATION = """\
calendars:
  always: {always_open: true}
  ending: {time_zone: UTC, open: {"2199-12-30": ["09:00-10:00"]}}
policies:
  - {name: hopeless, match: {queue: [hopeless]}, calendar: ending, targets: {first_response: 8h}}
  - {name: all, match: {queue: [known]}, calendar: always, targets: {first_response: 1h}}
limits: {contact_bytes: 32768}
broker: {partitions: 2}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A record and why it is refused; None: it is taken."""

    name: str
    value: bytes | None
    reason: Reason | None
    headers: Headers = ()
    key: bytes | None = b"c-1"

    @property
    def record(self) -> Record:
        """As it is written."""
        return Record(key=self.key, value=self.value, headers=self.headers)


def _with(change: dict[str, Any], /, **data: Any) -> bytes:
    return orjson.dumps({**event("contact.opened", "bad", **data), **change})


def _without(name: str) -> bytes:
    content = event("contact.opened", "bad")
    del content[name]
    return orjson.dumps(content)


def _taken(name: str, *more: dict[str, Any]) -> list[Bad]:
    """A contact with an outcome, opened by good events."""
    opened = event("contact.opened", name, customer_id=f"c-{name}", queue="known")
    return [Bad(name=name, value=orjson.dumps(one), reason=None) for one in (opened, *more)]


def _binary(name: str, value: bytes) -> Headers:
    attributes = {"id": name, "source": "/tests", "type": "contact.opened", "time": ago(), "subject": name}
    return [("ce_specversion", b"1.0"), *((f"ce_{key}", content.encode()) for key, content in attributes.items())]


def _unreadable() -> list[Bad]:
    whole = _with({})
    deep = b"[" * 300 + b"]" * 300
    return [
        Bad(name="cut", value=whole[:-20], reason=Reason.BROKEN_JSON),
        Bad(name="words", value=b"customer's own words", reason=Reason.BROKEN_JSON),
        Bad(name="empty", value=b"", reason=Reason.BROKEN_JSON),
        Bad(name="nan", value=whole[:-1] + b', "x": NaN}', reason=Reason.BROKEN_JSON),
        Bad(name="deep", value=whole[:-1] + b', "x": ' + deep + b"}", reason=Reason.BROKEN_JSON),
        Bad(
            name="deep binary",
            value=b'{"channel": "chat", "customer_id": "c", "x": ' + deep + b"}",
            headers=_binary("deep", b""),
            reason=Reason.BROKEN_JSON,
        ),
        Bad(
            name="latin", value=_with({}, summary="caf\u00e9").decode().encode("latin-1"), reason=Reason.BROKEN_ENCODING
        ),
        Bad(name="utf-16", value=whole.decode().encode("utf-16"), reason=Reason.BROKEN_ENCODING),
        Bad(name="utf-8", value=whole.replace(b"bad", b"b\xff\xfed"), reason=Reason.BROKEN_ENCODING),
        Bad(name="null", value=None, reason=Reason.NOT_AN_OBJECT),
        Bad(name="list", value=b"[" + whole + b"]", reason=Reason.NOT_AN_OBJECT),
        Bad(name="number", value=b"17", reason=Reason.NOT_AN_OBJECT),
        Bad(name="other", value=b'{"ticket": 17}', reason=Reason.NOT_CLOUDEVENTS),
        Bad(name="gzip", value=b"\x1f\x8b\x08\x00", reason=Reason.BROKEN_ENCODING),
        Bad(name="large", value=_with({}, url="x" * 1_000_001), reason=Reason.RECORD_TOO_LARGE),
    ]


def _wrong() -> list[Bad]:
    return [
        Bad(name="id", value=_with({"id": 17}), reason=Reason.INVALID_FIELD),
        Bad(name="data", value=_with({"data": "text"}), reason=Reason.INVALID_FIELD),
        Bad(name="text", value=_with({}, summary="x" * 5_000), reason=Reason.INVALID_FIELD),
        Bad(name="no time", value=_without("time"), reason=Reason.MISSING_FIELD),
        Bad(name="fax", value=_with({}, channel="fax"), reason=Reason.UNKNOWN_VALUE),
        Bad(name="naive", value=_with({"time": "2026-11-21T10:00:00"}), reason=Reason.NAIVE_INSTANT),
        Bad(name="1970", value=_with({"time": "1970-01-01T00:00:00Z"}), reason=Reason.ABSURD_INSTANT),
        Bad(name="9999", value=_with({"time": "9999-12-31T23:59:59-12:00"}), reason=Reason.ABSURD_INSTANT),
        Bad(name="ahead", value=_with({"time": ago(-3_600)}), reason=Reason.FROM_THE_FUTURE),
        Bad(name="late", value=_with({"time": ago(40 * 86_400)}), reason=Reason.TOO_LATE),
        Bad(name="type", value=_with({"type": "contact.exploded"}), reason=Reason.UNKNOWN_TYPE),
        Bad(name="wake", value=_with({"type": "deadline.reached", "data": {}}), reason=Reason.RESERVED_TYPE),
        Bad(
            name="never",
            value=orjson.dumps(event("contact.opened", "never", customer_id="c-never", queue="hopeless")),
            reason=Reason.CALENDAR_NEVER_OPENS,
        ),
    ]


def _against_others() -> list[Bad]:
    mine = {"customer_id": "c-mine"}
    loop = [
        event("contact.updated", "loop", event_id=f"loop-{n}", customer_id="c-loop", summary="x" * 500)
        for n in range(30)
    ]
    last_straw = event("contact.updated", "loop", event_id="straw", customer_id="c-loop", summary="\u00e9" * 4_000)
    forged: Headers = [("heardback.moved", b"1")]
    return [
        *_taken("mine"),
        Bad(
            name="reused",
            value=orjson.dumps(event("contact.opened", "mine", queue="other", **mine)),
            reason=Reason.ID_REUSED,
        ),
        Bad(
            name="opened twice",
            value=orjson.dumps(event("contact.opened", "mine", source="/elsewhere", **mine)),
            reason=Reason.CONTACT_ID_REUSED,
        ),
        Bad(
            name="same id of another source",
            value=orjson.dumps(
                event("message.received", "mine", source="/elsewhere", event_id="contact.opened@mine", **mine)
            ),
            reason=None,
        ),
        *_taken("loop"),
        *(Bad(name="loop", value=orjson.dumps(one), reason=None) for one in loop),
        *(
            Bad(name="straw", value=orjson.dumps(last_straw | {"id": f"straw-{n}"}), reason=reason)
            for n, reason in enumerate([None, Reason.CONTACT_TOO_LARGE, Reason.CONTACT_TOO_LARGE])
        ),
        Bad(name="forged", value=b"c-1\n{}", headers=forged, reason=Reason.NOT_CLOUDEVENTS),
        Bad(name="forged and empty", value=b"", headers=forged, reason=Reason.NOT_CLOUDEVENTS),
        Bad(name="forged hops", value=_taken("hops")[0].value, headers=[("heardback.hops", b"many")], reason=None),
    ]


def _good() -> list[Bad]:
    ring = [
        event("contact.merged", "ring-1", customer_id="c-ring", into="ring-2"),
        event("contact.merged", "ring-2", customer_id="c-ring", into="ring-1"),
        event("contact.merged", "self", customer_id="c-self", into="self"),
        event("contact.linked", "link-1", customer_id="c-ring", contact_id="link-2"),
        event("contact.linked", "link-2", customer_id="c-ring", contact_id="link-1"),
    ]
    whole = orjson.dumps(event("contact.opened", "bom", customer_id="c-bom", queue="known"))
    spaced = orjson.dumps(
        event("contact.opened", "crlf", customer_id="c-crlf", queue="known"), option=orjson.OPT_INDENT_2
    )
    ringed = [_taken(name)[0] for name in ("ring-1", "ring-2", "self", "link-1", "link-2")]
    return [
        *_taken("plain"),
        *ringed,
        *(Bad(name="ring", value=orjson.dumps(one), reason=None) for one in ring),
        Bad(name="bom", value=b"\xef\xbb\xbf" + whole, reason=None),
        Bad(name="crlf", value=spaced.replace(b"\n", b"\r\n"), reason=None),
        Bad(
            name="keyless",
            value=orjson.dumps(event("contact.opened", "keyless", customer_id="c-keyless", queue="known")),
            key=None,
            reason=None,
        ),
        Bad(
            name="stranger",
            value=orjson.dumps(
                event("contact.opened", "stranger", customer_id=None, sender="mailto:x@example.com", queue="known")
            ),
            reason=None,
        ),
        Bad(name="uncovered", value=orjson.dumps(event("contact.opened", "uncovered", queue="other")), reason=None),
    ]


def everything() -> list[Bad]:
    """All of it, the bad between the good."""
    return [*_taken("first"), *_unreadable(), *_good(), *_wrong(), *_against_others(), *_taken("last")]


WITH_OUTCOMES = frozenset(
    {"first", "plain", "self", "bom", "crlf", "keyless", "stranger", "mine", "loop", "last", "hops", "link-1", "link-2"}
)
"""Contacts of good events that have a clock."""
