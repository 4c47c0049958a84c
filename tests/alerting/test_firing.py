"""What fires, by the ids and names that somebody may acknowledge it under."""

from __future__ import annotations

from alerting import firing
from alerting.firing import Firing
from alerting.fold import Change
from alerting.notify import Routes
from alerting.outbox import Outbox
from alerting.partition import Work
from schemas.configuration import AlertsSpec
from tests.alerting.records import alerts_of, ended, outcome, overdue, superseded

BOUNCE = {"bounced_at": "2026-11-10T09:40:00Z"}


def test_an_alert_is_known_while_it_fires_and_for_a_while_after() -> None:
    [fired, end] = alerts_of(overdue(), ended(2))
    known = Firing()
    assert (known.alert(fired["alert_id"]), known.ended(fired["alert_id"])) == (None, False)
    known.take(3, fired)
    found = known.alert(fired["alert_id"])
    assert found is not None
    assert (found.partition, found.record["kind"]) == (3, "breach")
    known.take(3, end)
    assert (known.alert(fired["alert_id"]), known.ended(fired["alert_id"])) == (None, True)


def test_the_end_for_one_customer_does_not_end_what_is_another_ones_by_now() -> None:
    [old] = alerts_of(overdue())
    [new] = alerts_of(overdue(customer_id="c-99"))
    [_, end] = alerts_of(overdue(), superseded(2))
    known = Firing()
    known.take(0, old)
    known.take(1, new)
    known.take(0, end)  # another partition is read when it is read
    found = known.alert(old["alert_id"])
    assert found is not None
    assert found.record["customer_id"] == "c-99"


def test_what_ended_is_forgotten_in_the_end() -> None:
    known = Firing()
    for number in range(firing.ENDED_KEPT + 1):
        [fired, end] = alerts_of(overdue(contact_id=f"T-{number}"), ended(2, contact_id=f"T-{number}"))
        known.take(0, end)
        if number == 0:
            first = fired["alert_id"]
    assert not known.ended(first)
    assert known.ended(end["alert_id"])


def test_an_incident_is_named_as_the_outbox_named_it_and_is_all_that_fires_for_its_customer() -> None:
    spec = AlertsSpec.model_validate({"receivers": [{"type": "pagerduty", "name": "on-call", "secret": "s"}]})
    owing, work, known = Outbox(Routes(spec), {"on-call": True}), Work({}), Firing(["on-call"])
    breach, bounce = alerts_of(overdue(2)), alerts_of(outcome(contact_id="T-2", outcome_id="o-2", **BOUNCE))
    for alert in (*breach, *bounce):
        owing.fold(work, Change(3, alert))  # as a change that is not its first names it
        known.take(0, alert)
    [unit] = [unit for unit in work.units.values() if unit is not None]
    assert {one.record["contact_id"] for one in known.incident(unit.record["alert_id"])} == {"T-4711", "T-2"}
    assert known.incident("of-nobody") == []
    assert Firing().incident(unit.record["alert_id"]) == []
