"""Who is owed what: routes, and entries of the outbox as changes and deliveries come in any order."""

from __future__ import annotations

import random
from typing import Any

import pytest

from alerting.fold import Change
from alerting.notify import RECORDS_KEPT, Account, Entry, Routes, entered, instead, notice_key, rerouted, settled
from alerting.rules import Rules
from schemas.configuration import AlertsSpec
from tests.alerting.records import SPEC, alerts_of, at_risk, ended, escalated, overdue, superseded


def changes(*records: Any) -> list[Change]:
    rules, known, found = Rules(SPEC), None, []
    for record in records:
        some, known = rules.on_outcome(record, known)
        found += some
    return found


def entry_of(*records: Any, receivers: tuple[str, ...] = ("a", "b")) -> Entry:
    entry = None
    for change in changes(*records):
        entry = entered(entry, change, receivers)
    assert entry is not None
    return Entry.from_bytes(entry.to_bytes())


def step(result: str, number: int = 1, receiver: str = "a", state: str = "firing") -> dict[str, Any]:
    return {"receiver": receiver, "number": number, "result": result, "state": state}


def account(entry: Entry, *steps: dict[str, Any]) -> Account:
    for one in steps:
        entry = settled(entry, one)
    return entry.accounts["a"]


STEPS: dict[str, tuple[list[dict[str, Any]], Account]] = {
    "what is tried may be held": ([step("trying")], Account(held=(1,))),
    "what was delivered is held and done": ([step("trying"), step("delivered")], Account(done=1, held=(1,))),
    "what was certainly not taken is not held": ([step("trying"), step("not_taken")], Account()),
    "what may have been taken is held": ([step("trying"), step("unknown")], Account(held=(1,))),
    "what was rejected is done": ([step("rejected")], Account(done=1)),
    "what was given up is done, and may be held": ([step("trying"), step("gave_up")], Account(done=1, held=(1,))),
    "a later kind replaces an earlier": (
        [step("delivered"), step("trying", 2), step("delivered", 2)],
        Account(done=2, held=(2,)),
    ),
    "until it is known, both may be held": ([step("delivered"), step("trying", 2)], Account(done=1, held=(1, 2))),
    "an end leaves nothing": ([step("delivered"), step("delivered", 3, state="resolved")], Account(done=3)),
    "nothing is needed after an end that nobody heard of": ([step("not_needed", 3)], Account(done=3)),
    "an older step changes nothing": (
        [step("delivered", 3, state="resolved"), step("trying"), step("delivered")],
        Account(done=3),
    ),
    "another receiver's steps are its own": ([step("delivered", receiver="b")], Account()),
    "a receiver that is not there has no account": ([step("delivered", receiver="z")], Account()),
}


@pytest.mark.parametrize("sentence", STEPS)
def test_an_entry_knows(sentence: str) -> None:
    steps, wanted = STEPS[sentence]
    entry = entry_of(at_risk(), overdue(2), ended(3))
    assert account(entry, *steps) == wanted
    assert account(entry, *[one for one in steps for _ in range(2)]) == wanted


def test_an_entry_is_finished_when_it_is_over_and_everybody_knows() -> None:
    entry = entry_of(overdue(), ended(2))
    for one in (step("delivered"), step("delivered", 2, state="resolved")):
        assert not entry.finished
        entry = settled(entry, one)
    assert not entry.finished
    assert settled(entry, step("not_needed", 2, "b")).finished
    assert not entry_of(overdue()).finished


def test_an_end_that_nobody_was_told_the_beginning_of_makes_no_entry() -> None:
    _, end = changes(overdue(), ended(2))
    assert entered(None, end, ("a",)) is None
    assert entered(None, changes(overdue())[0], ()) is None


def test_a_change_that_comes_again_alters_nothing() -> None:
    entry = settled(entry_of(overdue()), step("delivered"))
    assert entered(entry, changes(overdue())[0], ("a", "b")) == entry


def test_the_end_of_another_customers_alert_alters_nothing() -> None:
    [first] = changes(overdue(customer_id="c-2"))
    old_end = changes(overdue(), superseded(2))[-1]
    entry = entered(None, first, ("a",))
    assert entered(entry, old_end, ("a",)) == entry


def test_a_receiver_that_is_no_longer_routed_to_keeps_its_account() -> None:
    first, second = changes(at_risk(), overdue(2))
    entry = entered(entered(None, first, ("a",)), second, ("b",))
    assert entry is not None
    assert {name: known.wanted for name, known in entry.accounts.items()} == {"a": False, "b": True}


def test_new_receivers_are_added_and_removed_ones_forgotten() -> None:
    entry = settled(entry_of(overdue()), step("delivered"))
    changed = rerouted(entry, ("b", "c", "gone"), {"a", "b", "c"})
    assert changed.accounts == {"a": Account(done=1, held=(1,)), "b": Account(), "c": Account()}
    over = rerouted(entry_of(overdue(), ended(2)), ("c",), {"a", "c"})
    assert set(over.accounts) == {"a"}


FAILED = "a: answered 500"


def test_who_is_told_instead_of_another_is_told_of_every_change_until_the_end() -> None:
    first, further, end = changes(overdue(), escalated(2), ended(3))
    entry = entered(None, first, ("a",))
    assert entry is not None
    entry = instead(entry, "fallback", FAILED)
    assert entry.accounts == {"a": Account(), "fallback": Account(instead=FAILED)}
    for change in (further, end):
        entry = entered(entry, change, ("a",))
        assert entry is not None
        assert entry.accounts["fallback"] == Account(instead=FAILED)
    assert not settled(entry, step("delivered", 3, state="resolved")).finished


def test_who_is_told_anyway_is_told_nothing_instead_nor_is_anybody_of_what_is_over() -> None:
    entry, over = entry_of(overdue()), entry_of(overdue(), ended(2))
    assert instead(entry, "b", FAILED) == entry
    assert instead(over, "fallback", FAILED) == over


def test_who_was_no_longer_routed_to_is_told_again_once_it_is_told_instead() -> None:
    entry = settled(entry_of(at_risk(), receivers=("a", "b")), step("delivered", receiver="b"))
    entry = entered(entry, changes(at_risk(), overdue(2))[-1], ("a",))
    assert entry is not None
    assert instead(entry, "b", FAILED).accounts["b"] == Account(held=(1,), instead=FAILED)


def test_an_entry_has_a_bound_however_often_it_changes() -> None:
    entry = None
    for number in range(1, 200):
        make = (at_risk, overdue, escalated)[number % 3]
        entry = entered(entry, Change(number, alerts_of(make())[0]), ("a",))
        assert entry is not None
        if number == 10:
            entry = settled(entry, step("delivered", 10))
    assert len(entry.records) == RECORDS_KEPT + 1  # type: ignore[union-attr]


def test_steps_of_two_receivers_in_any_order_come_to_the_same() -> None:
    steps = {
        name: [step("trying", 1, name), step("unknown", 1, name), step("trying", 3, name, "resolved"),
               step("delivered", 3, name, "resolved")]
        for name in ("a", "b")
    }  # fmt: skip
    randomly = random.Random(1)
    for _ in range(30):
        left, entry = {name: list(some) for name, some in steps.items()}, entry_of(at_risk(), overdue(2), ended(3))
        while names := [name for name, some in left.items() if some]:
            entry = settled(entry, left[randomly.choice(names)].pop(0))
        assert entry.finished


def test_a_notice_has_one_key_for_ever_and_another_one_for_every_other_change() -> None:
    alerts = alerts_of(at_risk(), overdue(2), ended(3))
    keys = [notice_key(alert, number) for number, alert in enumerate(alerts, start=1)]
    assert keys == [notice_key(dict(alert), number) for number, alert in enumerate(alerts, start=1)]
    moved = alerts_of(at_risk(customer_id="c-2"))[0]
    again = notice_key(alerts[1], 4)
    of_nobody = {**alerts[0], "customer_id": None}
    assert len({*keys, again, notice_key(moved, 1), notice_key(of_nobody, 1)}) == 6


def routes(*some: dict[str, Any]) -> Routes:
    receivers = [{"type": "console", "name": name} for name in ("a", "b", "c")]
    spec = AlertsSpec.model_validate({"receivers": receivers, "routes": list(some)})
    return Routes(spec, owner_of={"c-17": "ann@example.com"}.get)


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ({}, True), ({"tier": "gold"}, True), ({"tier": ["silver", "gold"]}, True), ({"tier": "silver"}, False),
        ({"channel": "ticket"}, True), ({"channel": "email"}, False), ({"queue": "billing"}, True),
        ({"kind": "breach"}, True), ({"kind": "at_risk"}, False), ({"policy": "gold"}, True),
        ({"severity": "page"}, True), ({"severity": "critical"}, False), ({"tier": "gold", "queue": "other"}, False),
        ({"owner": "ann@example.com"}, True), ({"owner": "bob@example.com"}, False),
    ],
)  # fmt: skip
def test_a_route_takes_what_matches_every_key_of_it(match: dict[str, Any], matches: bool) -> None:
    [alert] = alerts_of(overdue())
    found = routes({"match": match, "receivers": ["a"]}, {"receivers": ["b"]}).receivers(alert)
    assert found == (("a",) if matches else ("b",))


def test_without_routes_everybody_is_told_and_without_a_match_nobody() -> None:
    [alert] = alerts_of(overdue())
    assert routes().receivers(alert) == ("a", "b", "c")
    assert routes({"match": {"tier": "silver"}, "receivers": ["a"]}).receivers(alert) == ()


def test_a_step_adds_its_receivers_to_the_routes() -> None:
    [alert] = alerts_of(escalated())
    assert routes({"receivers": ["b"]}).receivers(alert, ("a", "b")) == ("b", "a")


def test_a_route_by_owner_takes_nothing_where_owners_are_not_known() -> None:
    spec = AlertsSpec.model_validate(
        {"receivers": [{"type": "console"}], "routes": [{"match": {"owner": "x"}, "receivers": ["console"]}]}
    )
    assert Routes(spec).receivers(alerts_of(overdue())[0]) == ()


def test_without_routes_the_fallback_is_told_what_the_others_cannot_be_and_nothing_else() -> None:
    def told(*names: str) -> tuple[str, ...]:
        receivers = [{"type": "console", "name": name} for name in names]
        spec = AlertsSpec.model_validate({"receivers": receivers, "fallback": "a"})
        return Routes(spec).receivers(alerts_of(overdue())[0])

    assert told("a", "b", "c") == ("b", "c")
    assert told("a") == ("a",)
