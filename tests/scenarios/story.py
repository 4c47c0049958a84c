"""A scenario file as a story: its configuration, what happened in which order, and what must come of it.

How a line of `happened` becomes an event is here; what is compared, and how, is in `expected`. README.md
has the whole language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml

from schemas.configuration import Configuration
from schemas.customers import Customer
from streams import settings

HERE: Final = Path(__file__).parent
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
INSTANT: Final = re.compile(r"(?:([A-Z][a-z]{2}) )?(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)")
# Verb: the event's type, and what the verb's value says (None: nothing but that it happened).
VERBS: Final[dict[str, tuple[str, str | None]]] = {
    "opened": ("contact.opened", "channel"),
    "wrote": ("message.received", "channel"),
    "answered": ("message.sent", "agent_id"),
    "sent": ("message.sent", None),
    "bounced": ("message.bounced", "direction"),
    "acknowledged": ("contact.acknowledged", "agent_id"),
    "assigned": ("contact.assigned", "agent_id"),
    "updated": ("contact.updated", None),
    "paused": ("contact.paused", "reason"),
    "resumed": ("contact.resumed", "agent_id"),
    "resolved": ("contact.resolved", "by"),
    "closed": ("contact.closed", "by"),
    "reopened": ("contact.reopened", "by"),
    "merged": ("contact.merged", "into"),
    "linked": ("contact.linked", "contact_id"),
    "voided": ("contact.voided", "reason"),
    "rated": ("contact.rated", "score"),
    "happened": ("", None),
}
SHORT: Final = {"who": "customer_id", "from": "sender", "to": "recipient", "message": "message_id"}
OF_THE_LINE: Final = frozenset({"at", "arrives", "contact", "id", "source", "times", "only"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What reaches the log at one instant: an event (or something that should be one), or a customer."""

    arrives: datetime
    event: dict[str, Any] | None = None
    customer: Customer | None = None
    live_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One scenario. `steps` are in the order in which they arrive."""

    name: str
    title: str
    rules: tuple[str, ...]
    zone: ZoneInfo
    configuration: Configuration
    start: datetime
    until: datetime
    first_start: datetime | None
    steps: tuple[Step, ...]
    wanted: dict[str, Any]

    def instant(self, text: str) -> datetime:
        """An instant of the file, in UTC. Raises ValueError, also where the named weekday is another."""
        return instant(text, self.zone)

    @property
    def in_order(self) -> bool:
        """Everything arrived when it happened, and everybody was known from the start: what was said in
        between is the same for a replay."""
        late = [s for s in self.steps if s.event and datetime.fromisoformat(s.event["time"]) != s.arrives]
        return not late and not any(s.customer and s.arrives > self.start for s in self.steps)

    def customers(self) -> dict[str, list[tuple[datetime, Customer]]]:
        """Every record of each customer, with when it became known."""
        found: dict[str, list[tuple[datetime, Customer]]] = {}
        for step in self.steps:
            if step.customer:
                found.setdefault(step.customer.customer_id, []).append((step.arrives, step.customer))
        return found


def names() -> list[str]:
    """The name of every scenario."""
    return sorted(path.stem for path in HERE.glob("*.yaml"))


def story(name: str) -> Story:
    """The scenario of this name. Raises ValueError or KeyError where the file is wrong."""
    path = HERE / f"{name}.yaml"
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    zone = ZoneInfo(told.pop("zone", "Europe/London"))
    happened = told.pop("happened")
    steps = [_step(line, number, told.get("who"), zone) for number, line in enumerate(happened, start=1)]
    start = instant(told.pop("start"), zone) if "start" in told else min(s.arrives for s in steps)
    known = [Step(arrives=start, customer=Customer.model_validate(one)) for one in told.pop("customers", [])]
    first_start = told.pop("first_start", None)
    return Story(
        name=name,
        title=told.pop("title"),
        rules=tuple(told.pop("rules")),
        zone=zone,
        configuration=_configuration(told.pop("config"), path),
        start=start,
        until=instant(told.pop("until"), zone),
        first_start=instant(first_start, zone) if first_start else None,
        steps=(*known, *_repeated(sorted(zip(steps, happened, strict=True), key=lambda pair: pair[0].arrives))),
        wanted=told,
    )


def instant(text: str, zone: ZoneInfo) -> datetime:
    """`Tue 2026-11-10 10:02` on the clock of `zone`, in UTC; the weekday may be left out."""
    found = INSTANT.fullmatch(str(text))
    if found is None:
        raise ValueError(f"found {text!r}, wanted an instant like `Tue 2026-11-10 10:02`")
    weekday, day, clock = found.groups()
    local = datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=zone)
    if weekday not in (None, WEEKDAYS[local.weekday()]):
        raise ValueError(f"found {text!r}, which is a {WEEKDAYS[local.weekday()]}")
    return local.astimezone(UTC)


def _repeated(pairs: Sequence[tuple[Step, dict[str, Any]]]) -> list[Step]:
    return [step for step, line in pairs for _ in range(line.get("times", 1))]


def _step(line: dict[str, Any], number: int, who: str | None, zone: ZoneInfo) -> Step:
    at = instant(line["at"], zone)
    arrives = instant(line["arrives"], zone) if "arrives" in line else at
    live_only = line.get("only") == "live"
    if "customer" in line:
        return Step(arrives=arrives, customer=Customer.model_validate(line["customer"]), live_only=live_only)
    return Step(arrives=arrives, event=_event(line, number, who, at), live_only=live_only)


def _event(line: dict[str, Any], number: int, who: str | None, at: datetime) -> dict[str, Any]:
    [verb] = [key for key in line if key in VERBS]
    kind, says = VERBS[verb]
    value = line[verb]
    data: dict[str, Any] = {"customer_id": who}
    if isinstance(value, dict):
        data |= value
    elif says is not None:
        data[says] = value
    elif verb == "happened":
        kind = value
    data |= {SHORT.get(key, key): said for key, said in line.items() if key not in OF_THE_LINE and key != verb}
    return {
        "specversion": "1.0",
        "id": str(line.get("id", f"e-{number:03}")),
        "source": line.get("source", "/desk"),
        "type": kind,
        "time": at.isoformat().replace("+00:00", "Z"),
        "subject": line["contact"],
        "data": {key: said for key, said in data.items() if said is not None},
    }


def _configuration(named: str | dict[str, Any], path: Path) -> Configuration:
    if isinstance(named, str):
        file = HERE / "configurations" / f"{named}.yaml"
        return settings.load(file)
    return settings.parse(yaml.safe_dump(named, sort_keys=False).encode(), file=str(path))
