"""What is kept of a contact and of a customer's journeys: the values of tables `contacts` and `journeys`.

A value is one line of JSON that says what an index needs (whose it is, when to look again, what waits),
and one with everything else, which is decoded only when the contact is touched. What state means belongs
to `streams.engine`, when it is written to `streams.track.agent`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, Literal, NamedTuple, TypeVar

import orjson

from schemas.refusals import Reason, Refusal
from streams.engine.attributes import Tier
from streams.engine.clocks import Clock
from streams.engine.outcome import Published
from streams.engine.timeline import RANK, Carried, Contact, Fact, ties

_CODES: Final = tuple(RANK)
_CODE_OF: Final = {kind: code for code, kind in enumerate(_CODES)}
FACT_OVERHEAD_BYTES: Final = 40
QUOTES_BYTES: Final = 8  # of a list with two texts in it: brackets, commas, quotes
ENCODED_OVERHEAD_BYTES: Final = 28  # of a fact as `encode_body` writes it: brackets, commas, quotes, instant, code
State = Literal["ok", "at_risk", "overdue"]
OTHER_CHANNEL: Final = "other"
SUPERSEDED: Final = "superseded"  # the digest of what was taken back
_NO_TIERS: Final = b'"tiers":[]'
_ELSEWHERE: Final = b'"moved_to":'
_Instant = TypeVar("_Instant", int, int | None)
_STATES: Final[dict[str, State]] = {"at_risk": "at_risk", "overdue": "overdue", "escalated": "overdue"}


Kind = tuple[str, State, str | None, str]


class Running(NamedTuple):
    """A clock that runs, as gauges count it; `state` is ok, at_risk or overdue, `due_us` None while paused."""

    target: str
    state: State
    tier: str | None
    channel: str
    since_us: int
    due_us: int | None


class Header(NamedTuple):
    """What an index knows of a contact: the customer in whose home it lives, the next instant to look
    again, whether merges or links tie it to others, and its clocks that run: what each is counted as, since
    when and until when promised (one instant where it is the same for all). There are hundreds of thousands
    of these."""

    home: str
    wake_us: int | None
    entangled: bool
    kinds: tuple[Kind, ...]
    since_us: int | tuple[int, ...]
    due_us: int | tuple[int | None, ...] | None

    @property
    def running(self) -> tuple[Running, ...]:
        """The clocks that run."""
        since, due = self.since_us, self.due_us
        each_since = since if isinstance(since, tuple) else repeat(since)
        each_due = due if isinstance(due, tuple) else repeat(due)
        instants = zip(each_since, each_due, strict=False)
        return tuple(Running(*kind, *at) for kind, at in zip(self.kinds, instants, strict=False))


@dataclass(slots=True)
class ContactState:
    """A contact's facts, how far time has passed for it (`woken_us`: the last wake-up), and what was last
    published of its outcomes by `target:cycle`. `home` differs from its customer where it is a copy that
    was merged into another customer's contact; `moved_to` says that it lives elsewhere now, and `leaving` that it is
    still to be sent there. `left` has how often it left each partition, as far as it knows, and `follows` that it is
    on the way behind another of its id. `size_bytes_at_most` bounds `size_bytes` without measuring every fact
    again."""

    contact: Contact
    home: str
    woken_us: int = 0
    tiers: list[Tier] = field(default_factory=list)
    published: dict[str, Published] = field(default_factory=dict)
    moved_to: str | None = None
    size_bytes_at_most: int = 0
    leaving: bool = False
    left: dict[int, int] = field(default_factory=dict)
    follows: bool = False

    @property
    def name(self) -> str:
        """The key in table `contacts`: a copy stands beside the contact itself."""
        return f"{self.contact.contact_id}\0{self.home}" if self.is_copy else self.contact.contact_id

    @property
    def is_copy(self) -> bool:
        """Kept only because its facts were merged into a contact of another customer."""
        return self.home != self.contact.customer_id

    @property
    def size_bytes(self) -> int:
        """What the facts count towards the bound of a contact."""
        return sum(map(fact_bytes, self.contact.facts))


def fact_bytes(item: Fact) -> int:
    """What a fact counts towards the bound of its contact, in bytes."""
    return len(orjson.dumps((item.source, item.id, item.data))) + FACT_OVERHEAD_BYTES - QUOTES_BYTES


def too_large(bytes_max: int) -> Refusal:
    """The refusal of an event that would make its contact too large."""
    return Refusal(reason=Reason.CONTACT_TOO_LARGE, detail=f"the contact would exceed {bytes_max} bytes of facts")


def header_of(state: ContactState, wake_us: int | None, clocks: Iterable[Clock]) -> Header:
    """What the index will know of a contact with these clocks."""
    running = [running_of(clock) for clock in clocks if clock.ended_us is None]
    return _header(state.home, wake_us, ties(state.contact.facts), running)


def encode_contact(state: ContactState, wake_us: int | None, clocks: Iterable[Clock]) -> bytes:
    """The value of table `contacts`."""
    return encode_under(header_of(state, wake_us, clocks), state)


def encode_under(header: Header, state: ContactState) -> bytes:
    """The same, with a header that is known already."""
    running = [[*now[:3], now.since_us, now.channel, now.due_us] for now in header.running]
    return orjson.dumps([header.home, header.wake_us, header.entangled, running]) + b"\n" + encode_body(state)


def postponed(value: bytes, wake_us: int) -> bytes:
    """A value of table `contacts`, to be looked at again at another instant."""
    cut = value.index(b"\n")
    home, _, *rest = orjson.loads(value[:cut])
    return orjson.dumps([home, wake_us, *rest]) + value[cut:]


def knew_no_tier(value: bytes) -> bool:
    """Whether nothing was known of a contact's customer when it was kept. A glance: there may be hundreds of
    thousands, and in a text the quotes would be escaped."""
    return _NO_TIERS in value and _ELSEWHERE not in value


def encode_body(state: ContactState) -> bytes:
    """Everything of a contact but what the index keeps: also what travels when it moves."""
    contact = state.contact
    body = {
        "id": contact.contact_id,
        "customer": contact.customer_id,
        "woken": state.woken_us,
        "tiers": [[tier.since_us, tier.tier, tier.kind] for tier in state.tiers],
        "published": {key: list(last) for key, last in state.published.items()},
        "facts": [[f.at_us, _CODE_OF[f.type], f.source, f.id, f.data] for f in contact.facts],
    }
    if state.moved_to is not None:
        body["moved_to"] = state.moved_to
    if state.leaving:
        body["leaving"] = True
    if state.left:
        body["left"] = list(state.left.items())
    if state.follows:
        body["follows"] = True
    if contact.carried is not None:
        left = contact.carried
        body["carried"] = [
            left.until_us, left.cycles, left.answered_us, left.channel, left.priority, left.queue,
            left.unanswered_at_close, left.written, left.resolved,
        ]  # fmt: skip
    return orjson.dumps(body)


def decode_header(value: bytes) -> Header:
    """What the index needs of a value of table `contacts`."""
    home, wake_us, entangled, running = orjson.loads(value[: value.index(b"\n")])
    return _header(home, wake_us, entangled, [_running(*clock) for clock in running])


def _running(
    target: str, state: State, tier: str | None, since_us: int, channel: str = OTHER_CHANNEL, due_us: int | None = None
) -> Running:
    """As it was written; what is absent was written before it was kept."""
    return Running(target, state, tier, channel, since_us, due_us)


def _header(home: str, wake_us: int | None, entangled: bool, running: Sequence[Running]) -> Header:
    kinds = _kinds(tuple([clock[:4] for clock in running]))
    since, due = tuple([clock.since_us for clock in running]), tuple([clock.due_us for clock in running])
    return Header(home, wake_us, entangled, kinds, _one_or_each(since), _one_or_each(due))


def _one_or_each(instants: tuple[_Instant, ...]) -> _Instant | tuple[_Instant, ...]:
    return instants[0] if len(set(instants)) == 1 else instants


@lru_cache(maxsize=4_096)
def _kinds(kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    """The same for all contacts that wait alike."""
    return kinds


def decode_contact(value: bytes) -> ContactState:
    """A contact from a value of table `contacts`."""
    cut = value.index(b"\n")
    return decode_body(value[cut + 1 :], orjson.loads(value[:cut])[0])


def decode_body(body: bytes, home: str) -> ContactState:
    """A contact from `encode_body`."""
    content: dict[str, Any] = orjson.loads(body)
    found = [_fact(*item) for item in content["facts"]]
    carried = content.get("carried")
    return ContactState(
        contact=Contact(content["id"], content["customer"], found, Carried(*carried) if carried else None),
        home=home,
        woken_us=content["woken"],
        tiers=[Tier(*tier) for tier in content["tiers"]],
        published={key: Published(*last) for key, last in content["published"].items()},
        moved_to=content.get("moved_to"),
        size_bytes_at_most=len(body) + len(found) * (FACT_OVERHEAD_BYTES - ENCODED_OVERHEAD_BYTES),
        leaving=content.get("leaving", False),
        left=dict(content.get("left", ())),
        follows=content.get("follows", False),
    )


def _fact(at_us: int, code: int, source: str, event_id: str, data: dict[str, Any]) -> Fact:
    kind = _CODES[code]
    return Fact(at_us, RANK[kind], source, event_id, kind, data)


def running_of(clock: Clock) -> Running:
    """A running clock as gauges count it."""
    state: State = _STATES.get(clock.stage, "ok")
    attributes = clock.attributes
    return Running(clock.target, state, attributes.tier, attributes.channel, clock.started_us, clock.due_us)


class JourneyState(NamedTuple):
    """What was last published of a customer's journeys, and when to look again. `spans` has when each began
    and ended, so that old ones can be forgotten."""

    wake_us: int | None
    woken_us: int
    published: dict[str, Published]
    spans: dict[str, tuple[int, int | None]]


def encode_journeys(state: JourneyState) -> bytes:
    """The value of table `journeys`."""
    body = [state.woken_us, {key: [*last] for key, last in state.published.items()}, state.spans]
    return orjson.dumps(state.wake_us) + b"\n" + orjson.dumps(body)


def decode_journeys(value: bytes) -> JourneyState:
    """A customer's journeys from a value of table `journeys`."""
    cut = value.index(b"\n")
    woken_us, published, spans = orjson.loads(value[cut + 1 :])
    kept = {key: Published(*last) for key, last in published.items()}
    return JourneyState(orjson.loads(value[:cut]), woken_us, kept, {key: tuple(span) for key, span in spans.items()})


def journeys_wake(value: bytes) -> int | None:
    """When a customer's journeys must be looked at again."""
    wake_us: int | None = orjson.loads(value[: value.index(b"\n")])
    return wake_us
