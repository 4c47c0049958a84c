"""A customer's notification: one, with a line per contact, from the first to the last of them."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest

from alerting import lines
from alerting.fold import Change
from alerting.notify import UNDELIVERED, Account, Routes, undelivered
from alerting.outbox import Outbox
from alerting.partition import Work
from alerting.waits import ENDED_KEPT, LINES_IN_FULL, LINES_MOST, LINES_SHOWN, Wait, settled, told
from schemas.alerts import Alert
from schemas.configuration import AlertsSpec
from tests.alerting.records import DUE, LATE, alerts_of, at_risk, ended, escalated, overdue


def contact(number: int) -> dict[str, Any]:
    return {"contact_id": f"T-{number}", "outcome_id": f"o-{number}"}


def fires(number: int, make: Any = overdue) -> dict[str, Any]:
    return alerts_of(make(**contact(number)))[0]


def ends(number: int, make: Any = overdue) -> dict[str, Any]:
    return alerts_of(make(**contact(number)), ended(9, **contact(number)))[-1]


def wait_of(*alerts: dict[str, Any]) -> Wait:
    wait = None
    for alert in alerts:
        wait = told(wait, "pager", alert, wanted=True)
    assert wait is not None
    assert Wait.from_bytes(wait.to_bytes()) == wait
    return wait


def test_five_contacts_of_a_customer_are_one_notification_with_five_lines() -> None:
    wait = wait_of(*map(fires, range(5)))
    assert (wait.record["state"], wait.record["count"], len(wait.record["lines"])) == ("firing", 5, 5)
    assert wait.record["summary"].startswith("Customer c-17 is let down in 5 contacts, since Tue 2026-11-10 10:00 UTC")
    assert wait.record["contact_id"] is None
    Alert.model_validate(wait.record)


def test_it_is_led_by_the_gravest_line_and_the_longest_waiting() -> None:
    wait = wait_of(fires(1, at_risk), fires(2), fires(3, escalated))
    assert [line["contact_id"] for line in wait.record["lines"]] == ["T-3", "T-2", "T-1"]
    assert (wait.record["severity"], wait.record["kind"]) == ("critical", "escalation")


def test_one_contact_speaks_for_itself() -> None:
    wait = wait_of(fires(1))
    assert (wait.record["summary"], wait.record["contact_id"]) == (fires(1)["summary"], "T-1")
    over = wait_of(fires(1), ends(1))
    assert (over.record["summary"], over.record["contact_id"]) == (ends(1)["summary"], "T-1")


def test_lines_that_wait_equally_long_stand_in_the_order_of_their_contacts_whichever_came_first() -> None:
    for order in itertools.permutations(range(1, 5)):
        lines_of = wait_of(*map(fires, order)).record["lines"]
        assert [line["contact_id"] for line in lines_of] == ["T-1", "T-2", "T-3", "T-4"]


def test_a_line_that_fires_again_has_not_ended() -> None:
    wait = wait_of(fires(1), fires(2), ends(1), fires(1, escalated))
    assert [line["contact_id"] for line in wait.record["lines"]] == ["T-1", "T-2"]
    assert wait.record["ended"] == []


def test_it_keeps_its_name_until_the_last_line_has_ended() -> None:
    wait = wait_of(fires(1))
    names = {wait.episode}
    for alert in (fires(2), ends(1), fires(3), ends(3)):
        wait = told(wait, "pager", alert, wanted=True)  # type: ignore[assignment]
        names.add(wait.episode)
        assert wait.record["state"] == "firing"
    wait = told(wait, "pager", ends(2), wanted=True)  # type: ignore[assignment]
    assert len(names | {wait.episode}) == 1
    assert (wait.record["state"], wait.record["resolution"], wait.record["ends_at"]) == ("resolved", "answered", LATE)
    assert [line["contact_id"] for line in wait.record["ended"]] == ["T-1", "T-3", "T-2"]
    Alert.model_validate(wait.record)


def test_each_change_has_a_number_and_a_repeated_one_alters_nothing() -> None:
    wait = wait_of(fires(1), fires(2), ends(1))
    assert wait.number == 3
    assert told(wait, "pager", fires(2), wanted=True) is wait
    assert told(wait, "pager", ends(7), wanted=True) is wait, "the end of what it never heard of"
    assert told(None, "pager", ends(1), wanted=True) is None
    assert told(None, "pager", fires(1), wanted=False) is None


def test_folding_the_beginning_again_after_a_crash_gives_the_same_name() -> None:
    assert wait_of(fires(1)).episode == wait_of(fires(1), fires(2)).episode
    later = {**fires(1), "at": LATE}
    others = {wait_of(fires(2)).episode, wait_of(later).episode, told(None, "chat", fires(1), wanted=True).episode}  # type: ignore[union-attr]
    assert len(others | {wait_of(fires(1)).episode}) == 4


def test_an_alert_whose_route_leads_elsewhere_by_now_has_ended_here() -> None:
    wait = told(wait_of(fires(1, at_risk), fires(2)), "pager", fires(1, overdue), wanted=False)
    assert wait is not None
    assert [line["contact_id"] for line in wait.record["lines"]] == ["T-2"]
    assert wait.record["ended"][0]["resolution"] == "superseded"


def test_what_is_told_instead_of_another_receiver_stays_until_it_ends() -> None:
    wait = wait_of(undelivered(fires(1, at_risk), "crm: answered 500"))
    wait = told(wait, "pager", fires(1), wanted=False)  # type: ignore[assignment]
    assert wait.record["lines"][0]["kind"] == "breach"
    assert wait.record["lines"][0]["annotations"][UNDELIVERED] == "crm: answered 500"
    wait = told(wait, "pager", ends(1), wanted=False)  # type: ignore[assignment]
    assert wait.record["state"] == "resolved"


def step(wait: Wait, result: str, **more: Any) -> dict[str, Any]:
    state = wait.record["state"]
    return {"alert_id": wait.episode, "number": wait.number, "result": result, "state": state, **more}


def test_it_is_finished_when_the_receiver_knows_the_end() -> None:
    wait = wait_of(fires(1))
    wait = settled(settled(wait, step(wait, "trying")), step(wait, "delivered"))
    assert wait.account == Account(done=1, held=(1,))
    wait = told(wait, "pager", ends(1), wanted=True)  # type: ignore[assignment]
    assert not wait.finished
    assert settled(wait, step(wait, "delivered")).finished
    assert not settled(wait, step(wait, "delivered", alert_id="another episode")).finished


def test_a_customer_with_very_many_contacts_stays_below_the_size_of_a_record() -> None:
    def alert(number: int) -> dict[str, Any]:
        return {**fires(1), "alert_id": f"{number:032}", "contact_id": f"T-{number:064}", "summary": "x" * 500}

    wait = wait_of(*map(alert, range(LINES_MOST + 5)), *map(ends, range(ENDED_KEPT)))
    assert wait.number == LINES_MOST, "further ones are not told apart"
    assert sum("labels" in line for line in wait.lines.values()) == LINES_IN_FULL
    assert len(wait.to_bytes()) < 1_000_000
    assert (len(wait.record["lines"]), wait.record["count"]) == (LINES_SHOWN, LINES_MOST)
    assert len(orjson.dumps(wait.record)) < 100_000


def test_a_short_line_can_be_ended_and_repeated_like_any_other() -> None:
    wait = wait_of(*[{**fires(1), "alert_id": str(n), "contact_id": f"T-{n}"} for n in range(LINES_IN_FULL + 1)])
    last = {**fires(1), "alert_id": str(LINES_IN_FULL), "contact_id": f"T-{LINES_IN_FULL}"}
    assert "labels" not in wait.lines[last["alert_id"]]
    assert told(wait, "pager", last, wanted=True) is wait
    over = told(wait, "pager", {**last, "severity": "warning"}, wanted=False)
    assert over is not None
    assert len(over.lines) == LINES_IN_FULL
    Alert.model_validate(over.record)


@pytest.mark.parametrize("resolution", ["withdrawn", "void", "superseded"])
def test_how_it_ended_is_said_as_it_was(resolution: str) -> None:
    over = {**ends(1), "resolution": resolution}
    assert wait_of(fires(1), over).record["resolution"] == resolution
    assert wait_of(fires(1), fires(2), over, ends(2)).record["resolution"] == "answered"


def test_the_times_are_those_of_the_lines() -> None:
    wait = wait_of(fires(1, at_risk), fires(2))
    assert wait.record["at"] == DUE
    assert wait.record["starts_at"] == min(line["starts_at"] for line in wait.record["lines"])


def test_an_alert_of_no_customer_is_by_itself_for_people() -> None:
    blind = {**fires(1), "customer_id": None, "contact_id": None, "kind": "blind", "summary": "heardback is behind."}
    source = {**blind, "alert_id": "s-1", "kind": "silent_source", "summary": "A form is silent."}
    outbox = Outbox(Routes(AlertsSpec.model_validate({"receivers": [{"type": "console", "name": "a"}]})), {"a": True})
    work = Work({})
    for record in (blind, source):
        outbox.fold(work, Change(1, record))
    waiting = [unit for unit in work.units.values() if isinstance(unit, Wait)]
    assert sorted(wait.record["summary"] for wait in waiting) == ["A form is silent.", "heardback is behind."]
    for wait in waiting:
        told_of = [line["alert_id"] for line in wait.record["lines"]]
        outbox.settle(work, step(wait, "delivered", receiver="a", alert_ids=told_of, customer_id=None))
    assert all(unit is not None and unit.accounts["a"].done == 1 for unit in work.units.values())
    assert lines.headline(waiting[0].record) == "PAGE: blind"
