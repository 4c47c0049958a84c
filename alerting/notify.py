"""Who is told of an alert, and what is still owed to them: routes, and the outbox's entries. Pure.

An entry is written to the table before anything is sent. Senders write no table: what they did comes back as
records of topic `deliveries`, and `settled` brings the entry up to date. Sending is in `deliver`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

from alerting import message
from alerting.fold import Alert, Change
from alerting.routes import mismatch
from schemas.configuration import AlertsSpec

RECORDS_KEPT: Final = 4
UNDELIVERED: Final = "undelivered"
"""The annotation of what is told because another receiver could not be: which one, and what it answered."""

OwnerOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Account:
    """One receiver of one alert. `wanted`: the route of the last change leads here; `done` is the last
    change that needs no more telling; `held` numbers the firing changes that it has, or may have. `instead`:
    it is told because another receiver could not be, and until the alert ends; says which and why."""

    wanted: bool = True
    done: int = 0
    held: tuple[int, ...] = ()
    instead: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Account:
        """As a table kept it, perhaps before there was `instead`."""
        return cls(content["wanted"], content["done"], tuple(content["held"]), content.get("instead", ""))


@dataclass(frozen=True, slots=True)
class Entry:
    """One alert in the outbox: its last change, and its account with each receiver."""

    number: int
    records: dict[str, Alert]
    accounts: dict[str, Account] = field(default_factory=dict)

    @property
    def record(self) -> Alert:
        """The last change."""
        return self.records[str(self.number)]

    @property
    def alert_id(self) -> str:
        """What names it towards receivers."""
        return str(self.record["alert_id"])

    @property
    def finished(self) -> bool:
        """The alert is over and everybody who must know it does."""
        over = self.record["state"] == "resolved"
        return over and all(account.done >= self.number for account in self.accounts.values())

    def to_bytes(self) -> bytes:
        """As a table keeps it."""
        return orjson.dumps(self)

    @classmethod
    def from_bytes(cls, value: bytes) -> Entry:
        """The inverse of `to_bytes`."""
        content = orjson.loads(value)
        accounts = {name: Account.of(account) for name, account in content["accounts"].items()}
        return cls(content["number"], content["records"], accounts)


class Notice(NamedTuple):
    """What a receiver is told: a record, a key that is the same at each try, and the firing records that it
    may hold of this alert and that this one replaces."""

    alert_id: str
    number: int
    record: Alert
    key: str
    replaces: tuple[Alert, ...] = ()


def entered(entry: Entry | None, change: Change, receivers: Collection[str]) -> Entry | None:
    """The entry after a change that `receivers` are to be told of; None when nobody is or was. The change
    that is the last one already alters nothing, nor does the end of what is another customer's by now."""
    firing = change.record["state"] == "firing"
    if entry is None:
        if not receivers or not firing:
            return None
        return Entry(change.number, {str(change.number): change.record}, {name: Account() for name in receivers})
    if change.record == entry.record or (not firing and change.record["customer_id"] != entry.record["customer_id"]):
        return entry
    number = max(change.number, entry.number + 1)
    accounts = entry.accounts
    if firing:
        accounts = {
            name: replace(account, wanted=name in receivers or bool(account.instead))
            for name, account in accounts.items()
        }
        accounts = {**{name: Account() for name in receivers}, **accounts}
    return _pruned(Entry(number, {**entry.records, str(number): change.record}, accounts))


def rerouted(entry: Entry, receivers: Collection[str], existing: Collection[str]) -> Entry:
    """The entry under another configuration: new receivers are told of what fires, removed ones forgotten."""
    accounts = {name: account for name, account in entry.accounts.items() if name in existing}
    if entry.record["state"] == "firing":
        accounts = {**{name: Account() for name in receivers if name in existing}, **accounts}
    return replace(entry, accounts=accounts)


def settled(entry: Entry, delivery: Mapping[str, Any]) -> Entry:
    """The entry after one step of a delivery (`schemas.deliveries`). Steps may come twice."""
    account = entry.accounts.get(delivery["receiver"])
    if account is None:
        return entry
    accounts = {**entry.accounts, delivery["receiver"]: account_after(account, delivery)}
    return _pruned(replace(entry, accounts=accounts))


def account_after(account: Account, delivery: Mapping[str, Any]) -> Account:
    """What a receiver knows after one step of telling it. `late` says only that it takes long."""
    number, result = delivery["number"], delivery["result"]
    firing = delivery["state"] == "firing"
    others = tuple(held for held in account.held if held != number)
    match result:
        case "trying" if firing and number > account.done:
            return replace(account, held=(*others, number))
        case "not_taken":
            return replace(account, held=others)
        case "delivered" if number >= account.done:
            return replace(account, done=number, held=(number,) if firing else ())
        case "rejected" | "gave_up":
            return replace(account, done=max(number, account.done))
        case "not_needed":
            return replace(account, done=max(number, account.done), held=())
    return account


def instead(entry: Entry, receiver: str, why: str) -> Entry:
    """The entry once `receiver` is to be told because another one could not be."""
    known = entry.accounts.get(receiver)
    if entry.record["state"] != "firing" or (known is not None and known.wanted):
        return entry
    account = replace(known or Account(), wanted=True, done=0, instead=why)
    return replace(entry, accounts={**entry.accounts, receiver: account})


def notice_key(record: Mapping[str, Any], number: int) -> str:
    """Names one change of one alert towards receivers, the same at every try and after every crash. The
    customer is part of it: a contact that moves to another customer is told anew."""
    parts = (record["alert_id"], record["customer_id"] or "", record["kind"], record["state"], str(number))
    return "msg_" + blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def ended_here(record: Alert) -> Alert:
    """What a receiver is told whose alert goes on elsewhere: another route has it now."""
    return message.resolved(record, "superseded", record["at"])


def undelivered(record: Alert, why: str) -> Alert:
    """The same alert, saying that another receiver could not be told."""
    return {**record, "annotations": {**record["annotations"], UNDELIVERED: why}}


class Routes:
    """Which receivers are told of an alert: those of the first route that matches; without routes all but the
    fallback, which is then told what the others cannot be. `owner_of` gives a customer's relationship manager,
    where one is known."""

    def __init__(self, spec: AlertsSpec, owner_of: OwnerOf | None = None) -> None:
        self._routes = spec.routes
        names = [receiver.name for receiver in spec.receivers]
        self._names = tuple([name for name in names if name != spec.fallback] or names)
        self._owner_of = owner_of

    def receivers(self, alert: Mapping[str, Any], also: Sequence[str] = ()) -> tuple[str, ...]:
        """Names, each once; `also` are those that an escalation step adds."""
        return tuple(dict.fromkeys((*self._routed(alert), *also)))

    def _routed(self, alert: Mapping[str, Any]) -> Sequence[str]:
        if not self._routes:
            return self._names
        of_somebody = alert["customer_id"] is not None
        owner = self._owner_of(alert["customer_id"]) if self._owner_of and of_somebody else None
        return next((route.receivers for route in self._routes if not mismatch(route.match, alert, owner)), ())


def _pruned(entry: Entry) -> Entry:
    """Records that somebody may hold, and the last few: what is being sent while another change comes."""
    held = {number for account in entry.accounts.values() for number in account.held}
    kept = {
        number: record
        for number, record in entry.records.items()
        if int(number) > entry.number - RECORDS_KEPT or int(number) in held
    }
    return replace(entry, records=kept)
