"""The outbox of a partition: what every receiver is owed, as changes and deliveries are folded into it. Pure.

Two kinds of entries, each under its own key of the table: `d:` an alert with its receivers (`notify.Entry`),
and `w:` a customer with one receiver for people (`waits.Wait`). Receivers for people hear of customers, the
others of alerts. What is undeliverable is owed to the fallback instead. Sending is in `deliver`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from alerting import notify, waits
from alerting.fold import Alert, Change
from alerting.notify import Account, Entry, Routes
from alerting.partition import Work
from alerting.waits import Wait

ALERT, WAIT = b"d:", b"w:"
UNDELIVERABLE: Final = ("rejected", "gave_up", "late")
Unit = Entry | Wait
Owing = tuple[str, Unit, Account]
"""A receiver, what it is owed, and its account with it."""


class Outbox:
    """The rules of the outbox under one configuration. `by_customer` says of every receiver whether it hears
    of customers rather than of alerts; `fallback` names the one for what is undeliverable."""

    def __init__(self, routes: Routes, by_customer: Mapping[str, bool], *, fallback: str | None = None) -> None:
        self._routes = routes
        self._of_customers = tuple(name for name, people in by_customer.items() if people)
        self._of_alerts = tuple(name for name, people in by_customer.items() if not people)
        self._fallback = fallback if fallback in by_customer else None

    # -- changes

    def fold(self, work: Work, change: Change) -> None:
        """Enters a change of an alert for all whom its route names."""
        record = change.record
        names = self._routes.receivers(record, change.also)
        key = ALERT + record["alert_id"].encode()
        entry = notify.entered(work.unit(key, Entry), change, [name for name in names if name in self._of_alerts])
        if entry is not None:
            work.units[key] = entry
        for receiver in self._of_customers:
            self._line(work, receiver, record, change.number, wanted=receiver in names)

    def _line(self, work: Work, receiver: str, record: Alert, number: int, *, wanted: bool) -> None:
        key = wait_key(receiver, record["customer_id"], record["alert_id"])
        before = work.unit(key, Wait)
        after = waits.told(before, receiver, record, wanted=wanted, number=number)
        if after is not None and after is not before:
            work.units[key] = after

    # -- deliveries

    def settle(self, work: Work, delivery: Mapping[str, Any]) -> None:
        """Brings what a delivery was of up to date; what cannot be delivered is owed to the fallback."""
        key = key_of(delivery)
        unit: Unit | None
        if delivery.get("alert_ids"):
            unit = wait = work.unit(key, Wait)
            work.units[key] = None if wait is None else waits.settled(wait, delivery)
        else:
            unit = entry = work.unit(key, Entry)
            work.units[key] = None if entry is None else notify.settled(entry, delivery)
        if unit is None:
            return
        if delivery["result"] in UNDELIVERABLE and self._fallback not in (None, delivery["receiver"]):
            self._instead(work, unit, delivery)

    def _instead(self, work: Work, unit: Unit, delivery: Mapping[str, Any]) -> None:
        """The fallback is told of what still fires; an end that cannot be delivered has no beginning there."""
        why = f"{delivery['receiver']}: {delivery['detail']}" if delivery.get("detail") else delivery["receiver"]
        if isinstance(unit, Wait):
            firing = list(unit.lines.values()) if delivery["alert_id"] == unit.episode else []
        else:
            firing = [unit.record] if unit.record["state"] == "firing" else []
        for record in firing:
            self._tell_fallback(work, record, unit.number, why)

    def _tell_fallback(self, work: Work, record: Alert, number: int, why: str) -> None:
        fallback = self._fallback or ""
        if fallback in self._of_customers:
            known = work.unit(wait_key(fallback, record["customer_id"], record["alert_id"]), Wait)
            if known is None or record["alert_id"] not in known.lines:
                self._line(work, fallback, notify.undelivered(record, why), number, wanted=True)
            return
        key = ALERT + record["alert_id"].encode()
        entry = work.unit(key, Entry) or Entry(1, {"1": record})
        work.units[key] = notify.instead(entry, fallback, why)

    def passed_on(self, work: Work) -> Iterator[Owing]:
        """What the fallback has come to be owed by settling."""
        return ((name, unit, account) for name, unit, account in owed(work.units) if name == self._fallback)

    # -- another configuration

    def rerouted(self, work: Work, firing: Sequence[Change]) -> None:
        """Brings what a table holds under this configuration: removed receivers are forgotten, new ones are
        owed everything that is `firing`."""
        for key in list(work.view):
            if key.startswith(ALERT):
                entry = notify.rerouted(old := Entry.from_bytes(work.view[key]), self._wanted(old), self._of_alerts)
                if entry != old or entry.finished:
                    work.units[key] = entry
            elif key.startswith(WAIT) and Wait.from_bytes(work.view[key]).receiver not in self._of_customers:
                work.units[key] = None
        for change in firing:
            names = self._routes.receivers(change.record)
            key = ALERT + change.record["alert_id"].encode()
            if key not in work.view:
                entered = notify.entered(None, change, [name for name in names if name in self._of_alerts])
                if entered is not None:
                    work.units[key] = entered
            for receiver in self._of_customers:
                if receiver in names:
                    self._line(work, receiver, change.record, change.number, wanted=True)

    def _wanted(self, entry: Entry) -> Sequence[str]:
        return [name for name in self._routes.receivers(entry.record) if name in self._of_alerts]


def owed(units: Mapping[bytes, Unit | None]) -> Iterator[Owing]:
    """Receivers that have yet to be told of an entry, each with it and its account."""
    for unit in units.values():
        if unit is not None:
            for name, account in unit.accounts.items():
                if account.done < unit.number:
                    yield name, unit, account


def unit_at(key: bytes, value: bytes) -> Unit | None:
    """What a table holds under a key, where that is of the outbox."""
    if key.startswith(ALERT):
        return Entry.from_bytes(value)
    return Wait.from_bytes(value) if key.startswith(WAIT) else None


def wait_key(receiver: str, customer_id: str | None, alert_id: str) -> bytes:
    """Where a table has what a receiver hears of a customer; an alert of no customer is by itself."""
    whose = f"\0{alert_id}" if customer_id is None else customer_id
    return WAIT + f"{receiver}\0{whose}".encode()


def key_of(delivery: Mapping[str, Any]) -> bytes:
    """Where a table has what a delivery was of: only one to people names the alerts that it tells of."""
    if told := delivery.get("alert_ids"):
        return wait_key(delivery["receiver"], delivery.get("customer_id"), told[0])
    return ALERT + bytes(delivery["alert_id"].encode())
