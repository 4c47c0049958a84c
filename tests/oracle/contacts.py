"""Adversarial histories of contacts, by seed: events, configuration and customers as plain dicts.

Few customers, few contacts, few instants, so that ties and boundaries are the rule. What the histories come to
does not belong here. `case(random.Random(seed))`; under hypothesis: `st.randoms(use_true_random=False).map(case)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

Event = dict[str, Any]

FEATURES = (
    "merges", "links", "voids", "bounces", "changes", "pauses", "reuse", "identities", "automated", "agent_opened",
    "effective", "wd", "bad", "message_ids", "late_openings", "exceptions", "zones", "cuts", "other_sources", "aimed",
)  # fmt: skip
CHANNELS = ["ticket", "form", "chat", "email", "phone", "social", "other"]
PRIORITIES = ["low", "normal", "high", "urgent"]
QUEUES = ["billing", "sales"]
TARGETS = ["acknowledgement", "first_response", "next_response", "resolution", "update"]
ADDRESSES = ["ops@example.com", "Ann@Example.com", "bob@elsewhere.example", "mailto:eve@third.example"]
WEEKS = [  # the first day of five: with a weekend, with switches of daylight saving, with holidays
    (2026, 11, 12), (2026, 3, 27), (2026, 10, 23), (2026, 12, 23), (2026, 4, 2), (2026, 6, 8), (2027, 2, 26),
]  # fmt: skip
TYPES = {
    "message.received": 18, "message.sent": 20, "contact.resolved": 6, "contact.closed": 2, "contact.reopened": 5,
    "contact.acknowledged": 3, "contact.assigned": 4, "contact.updated": 6, "contact.paused": 5, "contact.resumed": 3,
    "message.bounced": 10, "contact.merged": 2, "contact.linked": 2, "contact.voided": 1, "contact.rated": 1,
    "contact.opened": 1,
}  # fmt: skip
NEEDS = {
    "contact.merged": "merges", "contact.linked": "links", "contact.voided": "voids", "message.bounced": "bounces",
    "contact.updated": "changes", "contact.paused": "pauses", "contact.resumed": "pauses",
}  # fmt: skip


@dataclass
class Case:
    """One history with all that a replay needs."""

    events: list[Event]
    config: dict[str, Any]
    customers: list[dict[str, Any]]
    until: datetime | None = None
    features: frozenset[str] = field(default_factory=frozenset)


def case(random: Random, without: frozenset[str] = frozenset()) -> Case:
    """A random case; `without` switches features off by name, to look at the plain rules first.

    Each case leaves further features out by chance, so that small stories occur beside wild ones.
    """
    features = frozenset(name for name in FEATURES if name not in without and random.random() < 0.6)
    return _Maker(random, features).make()


def aimed(made: Case, random: Random, instants: list[datetime]) -> Case:
    """The case with some events, and perhaps its end, moved exactly to, just before or just after `instants`."""
    if not instants or not made.events:
        return made
    events = [dict(event) for event in made.events]
    for event in random.sample(events, min(len(events), random.randint(1, 3))):
        event["time"] = text(random.choice(instants) + timedelta(seconds=random.choice([0, 0, 0, 1, -1])))
    until = made.until
    if random.random() < 0.4:
        until = random.choice(instants) + timedelta(seconds=random.choice([0, 0, 1, -1]))
    return Case(events, made.config, made.customers, until, made.features)


def text(instant: datetime) -> str:
    """An instant as events carry it."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


class _Maker:
    def __init__(self, random: Random, features: frozenset[str]) -> None:
        self.random = random
        self.features = features
        self.zone = random.choice(["Europe/London", "UTC", "America/New_York", "Australia/Lord_Howe"])
        if "zones" not in features:
            self.zone = "Europe/London"
        self.first = datetime(*random.choice(WEEKS), tzinfo=ZoneInfo(self.zone))
        self.lattice = self._lattice()
        self.names = [f"T-{n}" for n in range(1, random.randint(1, 4) + 1)]
        self.home = {name: random.choice(["c-1", "c-1", "c-1", "c-2", "c-9"]) for name in self.names}
        self.serial = 0

    def make(self) -> Case:
        events = [event for name in self.names for event in self._contact(name)]
        if self.has("reuse"):
            events += self._reused(events)
        if self.has("bad"):
            events += self._bad(events)
        self.random.shuffle(events)
        until = self.random.choice(self.lattice) if self.has("cuts") else max(self.lattice) + timedelta(days=1)
        return Case(events, self._config(), self._customers(), until, self.features)

    def has(self, feature: str) -> bool:
        return feature in self.features

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # instants

    def _lattice(self) -> list[datetime]:
        day_count = self.random.randint(1, 5)
        grid = self.random.choice([15, 30, 60])
        found = []
        for _ in range(self.random.randint(5, 16)):
            day = self.random.randrange(day_count)
            minute = self.random.choice(
                [9 * 60, 17 * 60 + 30, 12 * 60, 13 * 60, self.random.randrange(9 * 60, 18 * 60, grid)]
            )
            if self.chance(0.2):
                minute = self.random.randrange(0, 24 * 60, grid)
            wall = self.first.replace(tzinfo=None) + timedelta(days=day, minutes=minute)
            found.append(wall.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC))
        return sorted(set(found))

    # events

    def _contact(self, name: str) -> list[Event]:
        events = []
        times = sorted(self.random.choices(self.lattice, k=self.random.randint(1, 14)))
        if self.chance(0.85):
            at = self.random.choice(times) if self.has("late_openings") and self.chance(0.3) else times[0]
            events.append(self._event(name, "contact.opened", at, main=True))
        allowed = {kind: weight for kind, weight in TYPES.items() if NEEDS.get(kind, kind) in (*self.features, kind)}
        for at in times:
            kind = self.random.choices(list(allowed), list(allowed.values()))[0]
            events.append(self._event(name, kind, at, main=False))
        return events

    def _event(self, name: str, kind: str, at: datetime, *, main: bool) -> Event:
        self.serial += 1
        source = "/desk"
        if not main and self.has("other_sources") and self.chance(0.2):
            source = self.random.choice(["/mail", "/archive"])
        data = self._data(name, kind)
        customer = self._customer(name)
        if customer is not None:
            data["customer_id"] = customer
        tag = self.random.randrange(1000)  # so that the order of ids is not the order of making
        return {
            "specversion": "1.0", "id": f"e-{tag:03}-{self.serial}", "source": source, "type": kind, "time": text(at),
            "subject": name, "data": data,
        }  # fmt: skip

    def _customer(self, name: str) -> str | None:
        if self.has("identities") and self.chance(0.35):
            return None
        if self.has("identities") and self.chance(0.05):
            return self.random.choice(["c-1", "c-2", "c-9"])
        return self.home[name]

    def _data(self, name: str, kind: str) -> dict[str, Any]:
        maker = getattr(self, "_" + kind.replace(".", "_"), None)
        data: dict[str, Any] = maker(name) if maker else self._by_agent()
        return {key: value for key, value in data.items() if value is not None}

    def _by_agent(self) -> dict[str, Any]:
        return {"agent_id": self.random.choice(["a-1", "a-2", None])}

    def _contact_opened(self, _: str) -> dict[str, Any]:
        by_agent = self.has("agent_opened") and self.chance(0.3)
        return {
            "channel": self.random.choice(CHANNELS), "priority": self.random.choice([*PRIORITIES, None, None]),
            "queue": self.random.choice([*QUEUES, None]), "message_id": self._message_id("in"),
            "opened_by": "agent" if by_agent else None, "sender": self._address(0.6), "summary": "hangs",
        }  # fmt: skip

    def _message_received(self, _: str) -> dict[str, Any]:
        return {
            "message_id": self._message_id("in"), "automated": True if self._rarely_automated() else None,
            "channel": self.random.choice([*CHANNELS, None]), "sender": self._address(0.6),
        }  # fmt: skip

    def _message_sent(self, _: str) -> dict[str, Any]:
        return self._by_agent() | {
            "message_id": self._message_id("out"), "automated": True if self._rarely_automated() else None,
            "public": False if self.has("automated") and self.chance(0.15) else None, "recipient": self._address(0.5),
        }  # fmt: skip

    def _message_bounced(self, _: str) -> dict[str, Any]:
        inbound = self.chance(0.15)
        return {
            "direction": "inbound" if inbound else "outbound", "permanent": self.random.choice([None, True, False]),
            "message_id": self.random.choice([self._message_id("out"), self._message_id("out"), "out-unknown", None]),
            "recipient": None if inbound else self._address(0.6), "sender": self._address(0.6) if inbound else None,
            "status": "5.1.1",
        }  # fmt: skip

    def _contact_assigned(self, _: str) -> dict[str, Any]:
        queue = self.random.choice([*QUEUES, None]) if self.has("changes") else None
        return self._by_agent() | {"queue": queue}

    def _contact_updated(self, _: str) -> dict[str, Any]:
        return {
            "priority": self.random.choice([*PRIORITIES, None]), "queue": self.random.choice([*QUEUES, None, None]),
            "channel": self.random.choice([*CHANNELS, None, None, None, None, None, None]),
        }  # fmt: skip

    def _contact_paused(self, _: str) -> dict[str, Any]:
        return self._by_agent() | {"reason": self.random.choice(["pending_customer", "on_hold", "third_party", None])}

    _contact_resumed = _contact_paused

    def _contact_resolved(self, _: str) -> dict[str, Any]:
        return self._by_agent() | {"by": self.random.choice(["agent", "customer", "system", None])}

    _contact_closed = _contact_resolved
    _contact_reopened = _contact_resolved

    def _contact_merged(self, name: str) -> dict[str, Any]:
        into = self.random.choice([*self.names, *self.names, "T-unknown"])
        other = self.random.choice(["c-2", None, None])
        return {
            "into": into,
            "into_customer_id": other if into == "T-unknown" else self.home.get(into, self.home[name]),
        }

    def _contact_linked(self, _: str) -> dict[str, Any]:
        return {"contact_id": self.random.choice([*self.names, *self.names, "T-unknown"])}

    def _contact_voided(self, _: str) -> dict[str, Any]:
        return {"reason": self.random.choice(["spam", "test", "duplicate"])}

    def _contact_rated(self, _: str) -> dict[str, Any]:
        return {"score": self.random.choice([0.0, 0.5, 1.0])}

    def _message_id(self, way: str) -> str | None:
        return f"{way}-{self.random.randint(1, 4)}" if self.has("message_ids") and self.chance(0.5) else None

    def _address(self, share: float) -> str | None:
        return self.random.choice(ADDRESSES) if self.chance(share) else None

    def _rarely_automated(self) -> bool:
        return self.has("automated") and self.chance(0.2)

    # what must be refused or counted once

    def _reused(self, events: list[Event]) -> list[Event]:
        found = []
        for event in self.random.sample(events, min(len(events), 3)):
            copy = dict(event)
            if self.chance(0.5):
                fresh = self._event(event["subject"], event["type"], self.random.choice(self.lattice), main=True)
                copy |= {"data": fresh["data"], "time": self.random.choice([event["time"], fresh["time"]])}
            found.append(copy)
        return found

    def _bad(self, events: list[Event]) -> list[Event]:
        event = self.random.choice(events)
        strange = [
            {"type": "contact.teleported"},
            {"type": "deadline.reached"},
            {"time": event["time"].removesuffix("Z")},
            {"source": "/elsewhere", "type": "contact.opened", "data": {"customer_id": "c-2", "channel": "form"}},
        ]
        self.serial += 1
        return [event | self.random.choice(strange) | {"id": f"bad-{self.serial}"}]

    # configuration

    def _config(self) -> dict[str, Any]:
        calendars = {name: self._calendar() for name in ("day", "night")} | {"always": {"always_open": True}}
        policies = [self._policy(n, calendars) for n in range(self.random.randint(0, 3))]
        if self.chance(0.85):
            policies.append(self._policy(9, calendars) | {"match": {}})
            policies[-1]["targets"] = dict.fromkeys(TARGETS, "1h") | policies[-1]["targets"]
            policies[-1].pop("effective_from", None)
        if not policies:
            policies = [self._policy(8, calendars)]
        escalations = [{"after": "0m", "severity": "page"}, {"after": "1h", "severity": "critical"}]
        return {"calendars": calendars, "policies": policies, "alerts": {"escalations": escalations}}

    def _calendar(self) -> dict[str, Any]:
        hours = self.random.choice([
            {"mon-fri": ["09:00-17:30"]},
            {"mon-fri": ["09:00-12:00", "13:00-17:30"]},
            {"mon-thu": ["08:00-20:00"], "fri": ["08:00-12:00"], "sat": ["10:00-14:00"]},
            {"mon-sat": ["22:00-06:00"]},
            {"mon-sun": ["00:00-24:00"]},
            {"mon-fri": ["06:00-14:00", "14:00-22:00"], "sun": ["00:30-03:30"]},
        ])  # fmt: skip
        made: dict[str, Any] = {"time_zone": self.zone, "hours": hours}
        if self.has("exceptions"):
            days = [(self.first + timedelta(days=n)).date().isoformat() for n in range(12)]
            made["holidays"] = self.random.choice([
                self.random.sample(days, 2), {"country": "GB", "subdivision": "ENG"}, self.random.sample(days, 1),
            ])  # fmt: skip
            start = self.random.randrange(8)
            made["closed"] = self.random.choice([[f"{days[start]}..{days[start + 2]}"], [days[start]], []])
            made["open"] = {day: ["10:00-14:00"] for day in self.random.sample(days, self.random.randint(0, 2))}
        return made

    def _policy(self, n: int, calendars: dict[str, Any]) -> dict[str, Any]:
        name = self.random.choice(list(calendars))
        made: dict[str, Any] = {
            "name": f"p{n}", "match": self._match(), "calendar": name, "targets": self._targets(name, 0.8),
            "at_risk": self.random.choice([[], ["50%"], ["50%", "80%"]]),
            "assignment_acknowledges": self.chance(0.5),
        }  # fmt: skip
        if self.chance(0.5):
            made["priority_targets"] = {"urgent": self._targets(name, 0.5), "high": self._targets(name, 0.3)}
        if self.chance(0.5):
            made["dead_end_after"] = self.random.choice(["30m", "1h"])
        if self.has("effective") and self.chance(0.5):
            day = self.first + timedelta(days=self.random.randint(0, 2))
            made["effective_from"] = self.random.choice([day.date().isoformat(), text(day + timedelta(hours=12))])
        return made

    def _match(self) -> dict[str, list[str]]:
        pools = {"tier": ["gold", "silver"], "channel": CHANNELS[:5], "priority": PRIORITIES, "queue": QUEUES}
        keys = self.random.sample(list(pools), self.random.choice([0, 1, 1, 1, 2]))
        return {key: self.random.sample(pools[key], self.random.randint(1, len(pools[key]) - 1)) for key in keys}

    def _targets(self, calendar: str, share: float) -> dict[str, str]:
        pool = ["15m", "30m", "1h", "1h30m", "2h", "4h", "8h", "16h"]
        if self.has("wd"):
            pool += ["1wd", "2wd", "3wd"]
        if calendar == "always":
            pool += ["1d"]
        found = {target: self.random.choice(pool) for target in TARGETS if self.chance(share)}
        return found or {"first_response": "1h"}

    def _customers(self) -> list[dict[str, Any]]:
        return [
            {
                "customer_id": "c-1", "name": "One", "kind": "external", "tier": "gold",
                "identities": ["mailto:ops@example.com", "domain:example.com"],
            },
            {"customer_id": "c-2", "name": "Two", "kind": "external", "tier": "silver",
             "identities": ["mailto:bob@elsewhere.example", "handle:social/two"]},
            {"customer_id": "c-3", "name": "Three", "kind": "external", "identities": []},
        ]  # fmt: skip
