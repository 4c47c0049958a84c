"""Contact events: facts about a contact, as CloudEvents 1.0 in JSON (CONTRACT.md section 2).

Strict where a mistake would be silent (instants without a zone, unknown types and enum values, empty
ids, numbers for text), lenient where the world grows (unknown fields are ignored). What a fact means
for a clock is not decided here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, Union, get_args

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

ID_CHARACTERS_MAX = 512
TEXT_CHARACTERS_MAX = 4_000
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
# Something to see, and no control characters: they part lines of logs, and ids where several make a hash.
ID_PATTERN = r"^ *[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
# For JSON Schema only: `format` is not asserted there, and the zone is what senders forget.
INSTANT_PATTERN = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:?\d{2})$"
_DATE_FROM_TIME = ("T", "t", " ")


def _instant(value: object, read: ValidatorFunctionWrapHandler) -> datetime:
    readable = value[10:11] in _DATE_FROM_TIME if isinstance(value, str) else isinstance(value, datetime)
    if not readable:
        raise PydanticCustomError(
            "not_an_instant",
            "found {found}, wanted an instant such as 2026-11-21T10:00:00Z",
            {"found": repr(value)[:64]},
        )
    instant: datetime = read(value)
    surely = EARLIEST.year < instant.year < LATEST.year - 1  # whatever its zone; comparing instants costs more
    if not surely and not EARLIEST <= instant < LATEST:
        raise PydanticCustomError(
            "absurd_instant",
            "found {found}, wanted an instant from {earliest} to before {latest}",
            {"found": instant.isoformat(), "earliest": EARLIEST.year, "latest": LATEST.year},
        )
    return instant.astimezone(UTC)


Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=ID_CHARACTERS_MAX, pattern=ID_PATTERN)]
Text = Annotated[str, StringConstraints(strict=True, max_length=TEXT_CHARACTERS_MAX)]
Instant = Annotated[
    AwareDatetime,
    WrapValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": INSTANT_PATTERN}),
]


class Channel(StrEnum):
    """The door that the customer used."""

    TICKET = "ticket"
    FORM = "form"
    CHAT = "chat"
    EMAIL = "email"
    PHONE = "phone"
    SOCIAL = "social"
    OTHER = "other"


class Priority(StrEnum):
    """How urgent the contact is held to be; `normal` where none is given (C22)."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Record(BaseModel):
    """A record that ignores what it does not know and cannot be changed."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_enum_values=True)


class Data(Record):
    """What every event's `data` may hold. Without `customer_id` the customer is derived (C19)."""

    customer_id: Id | None = None


class Opened(Data):
    channel: Channel
    priority: Priority | None = None
    queue: Id | None = None
    summary: Text | None = None
    message_id: Id | None = None
    opened_by: Literal["customer", "agent"] = "customer"
    sender: Id | None = None
    recipient: Id | None = None
    source_ref: Text | None = None
    url: Text | None = None


class Received(Data):
    message_id: Id | None = None
    automated: StrictBool = False
    channel: Channel | None = None
    sender: Id | None = None


class Sent(Data):
    agent_id: Id | None = None
    message_id: Id | None = None
    automated: StrictBool = False
    public: StrictBool = True
    recipient: Id | None = None
    channel: Channel | None = None


class Bounced(Data):
    direction: Literal["outbound", "inbound"]
    permanent: StrictBool = True
    message_id: Id | None = None
    recipient: Id | None = None
    sender: Id | None = None
    status: Text | None = None
    reason: Text | None = None


class Acknowledged(Data):
    agent_id: Id | None = None


class Assigned(Data):
    queue: Id | None = None
    agent_id: Id | None = None


class Updated(Data):
    priority: Priority | None = None
    queue: Id | None = None
    summary: Text | None = None
    channel: Channel | None = None


class Paused(Data):
    reason: Literal["pending_customer", "on_hold", "third_party"] | None = None
    agent_id: Id | None = None


class Ended(Data):
    by: Literal["agent", "customer", "system"] | None = None
    agent_id: Id | None = None


class Merged(Data):
    into: Id
    into_customer_id: Id | None = None


class Linked(Data):
    contact_id: Id


class Voided(Data):
    reason: Literal["spam", "test", "duplicate"]


class Rated(Data):
    score: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


class Woken(Data):
    """The internal wake-up: a hint to look again, never a fact. Nobody outside may send it."""


class Envelope(Record):
    """CloudEvents attributes. Identity is `source` + `id`; `subject` is the contact's id."""

    specversion: Literal["1.0"] = "1.0"
    id: Id
    source: Id
    time: Instant
    subject: Id


class ContactOpened(Envelope):
    type: Literal["contact.opened"] = "contact.opened"
    data: Opened


class MessageReceived(Envelope):
    type: Literal["message.received"] = "message.received"
    data: Received


class MessageSent(Envelope):
    type: Literal["message.sent"] = "message.sent"
    data: Sent


class MessageBounced(Envelope):
    type: Literal["message.bounced"] = "message.bounced"
    data: Bounced


class ContactAcknowledged(Envelope):
    type: Literal["contact.acknowledged"] = "contact.acknowledged"
    data: Acknowledged


class ContactAssigned(Envelope):
    type: Literal["contact.assigned"] = "contact.assigned"
    data: Assigned


class ContactUpdated(Envelope):
    type: Literal["contact.updated"] = "contact.updated"
    data: Updated


class ContactPaused(Envelope):
    type: Literal["contact.paused"] = "contact.paused"
    data: Paused


class ContactResumed(Envelope):
    type: Literal["contact.resumed"] = "contact.resumed"
    data: Paused


class ContactResolved(Envelope):
    type: Literal["contact.resolved"] = "contact.resolved"
    data: Ended


class ContactReopened(Envelope):
    type: Literal["contact.reopened"] = "contact.reopened"
    data: Ended


class ContactClosed(Envelope):
    type: Literal["contact.closed"] = "contact.closed"
    data: Ended


class ContactMerged(Envelope):
    type: Literal["contact.merged"] = "contact.merged"
    data: Merged


class ContactLinked(Envelope):
    type: Literal["contact.linked"] = "contact.linked"
    data: Linked


class ContactVoided(Envelope):
    type: Literal["contact.voided"] = "contact.voided"
    data: Voided


class ContactRated(Envelope):
    type: Literal["contact.rated"] = "contact.rated"
    data: Rated


class DeadlineReached(Envelope):
    type: Literal["deadline.reached"] = "deadline.reached"
    data: Woken


Event = Union[
    ContactOpened,
    MessageReceived,
    MessageSent,
    MessageBounced,
    ContactAcknowledged,
    ContactAssigned,
    ContactUpdated,
    ContactPaused,
    ContactResumed,
    ContactResolved,
    ContactReopened,
    ContactClosed,
    ContactMerged,
    ContactLinked,
    ContactVoided,
    ContactRated,
    DeadlineReached,
]
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])

EVENT_DATA: dict[str, type[Data]] = {
    str(model.model_fields["type"].default): model.model_fields["data"].annotation for model in get_args(Event)
}
EVENT_TYPES: frozenset[str] = frozenset(EVENT_DATA)
WAKE_UP = "deadline.reached"


def to_json(event: Event) -> bytes:
    """The structured CloudEvents record of `event`; absent fields are left out."""
    return EVENT.dump_json(event, exclude_none=True)
