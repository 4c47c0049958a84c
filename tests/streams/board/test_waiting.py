"""What is kept of the topics, and what is dropped."""

from __future__ import annotations

import pytest

from streams.board.waiting import LATELY_CUSTOMERS, Waiting
from tests.streams.board.records import alert, answered, at, attempt, journey, outcome, resolved, us


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def test_who_is_answered_is_dropped_and_known_lately(waiting: Waiting) -> None:
    opened = outcome()
    waiting.on_outcome(0, opened)
    assert [clock.contact_id for clock in waiting.entries["c-1"].waited_for] == ["T-1"]
    waiting.on_outcome(0, answered(opened))
    assert waiting.entries == {}
    assert waiting._of == {}, "nothing is kept of what has ended"
    assert [clock.reason for clock in waiting.lately["c-1"].clocks] == ["answered_in_time"]


def test_a_broken_clock_without_an_answer_is_waited_for(waiting: Waiting) -> None:
    waiting.on_outcome(0, outcome(verdict="broken", reason="unanswered", stage="overdue", revision=3, stage_at=at(1)))
    assert waiting.entries["c-1"].waits


def test_an_older_revision_takes_nothing_back(waiting: Waiting) -> None:
    waiting.on_outcome(0, outcome(stage="at_risk", revision=2))
    waiting.on_outcome(0, outcome())
    assert [clock.stage for clock in waiting.entries["c-1"].clocks.values()] == ["at_risk"]


def test_a_contact_that_moves_to_another_customer_leaves_the_first_in_one_partition(waiting: Waiting) -> None:
    waiting.on_outcome(0, outcome(customer="mailto:a@example.com"))
    waiting.on_outcome(0, outcome(customer="c-1", revision=2))
    assert list(waiting.entries) == ["c-1"]


@pytest.mark.parametrize("first", [0, 1])
def test_a_contact_that_moves_between_partitions_is_with_its_new_customer_whichever_is_read_first(
    waiting: Waiting, first: int
) -> None:
    before = outcome(customer="mailto:a@example.com")
    void = {"revision": 2, "verdict": "void", "reason": "superseded", "stage": "ended", "ended_at": at(1)}
    partitions = [[before, before | void], [outcome(customer="c-1")]]
    for number in (first, 1 - first):
        for record in partitions[number]:
            waiting.on_outcome(number, record)
    assert list(waiting.entries) == ["c-1"]
    assert waiting.lately == {}, "what was superseded never was"


def test_a_close_without_an_answer_is_waited_for_until_somebody_answers(waiting: Waiting) -> None:
    closed = outcome(
        **{"verdict": "void", "reason": "closed_unanswered", "stage": "ended", "ended_at": at(0.5)},
        silently_closed=True,
    )
    waiting.on_outcome(0, closed)
    assert waiting.entries["c-1"].waits
    waiting.on_outcome(0, closed | {"revision": 2, "settled_at": at(3)})
    assert waiting.entries == {}


def test_a_resolution_is_waited_for_once_it_is_late(waiting: Waiting) -> None:
    waiting.on_outcome(0, outcome(target="resolution"))
    assert not waiting.entries["c-1"].waits
    waiting.on_outcome(0, outcome(target="resolution", revision=2, stage="at_risk"))
    assert waiting.entries["c-1"].waits


def test_a_journey_is_kept_until_it_is_answered_and_one_without_attempts_never_was(waiting: Waiting) -> None:
    tried = journey("c-1", attempt("mail:1", "email", 0, "bounced"))
    waiting.on_journey(0, tried)
    assert waiting.entries["c-1"].waits
    waiting.on_journey(0, tried | {"revision": 2, "state": "answered", "ended_at": at(5), "answered_by": "a-1"})
    assert waiting.entries == {}
    assert [one.answered_by for one in waiting.lately["c-1"].journeys] == ["a-1"]
    waiting.on_journey(0, journey("c-2", attempt("mail:2", "email", 0)))
    waiting.on_journey(0, journey("c-2", revision=2, state="answered", ended_at=at(1)))
    assert list(waiting.lately) == ["c-1"]


def test_an_alert_has_the_id_of_its_outcome_and_does_not_stand_in_for_it(waiting: Waiting) -> None:
    waiting.on_outcome(0, outcome())
    waiting.on_alert(0, alert())
    waiting.on_alert(0, resolved(alert()))
    assert waiting.entries["c-1"].waits, "the clock runs on"
    waiting.on_outcome(0, answered(outcome()))
    assert waiting.entries == {}


def test_an_alert_about_heardback_is_no_customers(waiting: Waiting) -> None:
    about = alert("blind", customer="heardback")
    waiting.on_alert(0, about)
    assert waiting.entries == {}
    assert [one.kind for one in waiting.about_heardback.values()] == ["blind"]
    waiting.on_alert(0, resolved(about))
    assert waiting.about_heardback == {}


def test_what_is_remembered_of_those_who_were_answered_is_bounded(waiting: Waiting) -> None:
    for number in range(LATELY_CUSTOMERS + 5):
        waiting.on_outcome(0, answered(outcome(f"T-{number}", f"c-{number}")))
    for number in range(50):
        waiting.on_outcome(0, answered(outcome(f"S-{number}", "c-99")))
    assert len(waiting.lately) == LATELY_CUSTOMERS
    assert "c-0" not in waiting.lately
    assert len(waiting.lately["c-99"].clocks) < 50


def test_an_old_close_that_nobody_will_settle_is_forgotten_but_never_a_clock_that_runs(waiting: Waiting) -> None:
    waiting.on_journey(0, journey("c-1", attempt("T-1", "ticket", 0)))
    waiting.on_journey(0, journey("c-2", attempt("T-2", "ticket", 0)))
    waiting.on_outcome(0, outcome("T-2", "c-2"))
    waiting.on_journey(0, journey("c-3", attempt("T-3", "ticket", 0), attempt("T-3b", "ticket", 48)))
    waiting.forget(us(24))
    assert sorted(waiting.entries) == ["c-2", "c-3"]


def test_what_is_no_record_is_refused_and_changes_nothing(waiting: Waiting) -> None:
    for broken in ({}, outcome() | {"due_at": 5}, outcome() | {"started_at": "soon"}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            waiting.on_outcome(0, broken)
    assert (waiting.entries, waiting._of, waiting.version) == ({}, {}, 0)
