"""*Now*: who waits for us at this moment, and who is about to wait longer than was promised."""

from __future__ import annotations

from typing import Any

from deploy.grafana.panels import (
    ANSWERS,
    ANY_IS_A_WARNING,
    ANY_IS_BAD,
    COUNT,
    CUSTOMER_URL,
    GREEN,
    RED,
    SECONDS,
    YELLOW,
    Query,
    board,
    graph,
    listing,
    number,
    picked,
)

_CUSTOMERS = 'responsiveness_waiting_customers{tier=~"$tier"}'
_DAY = 86_400


def now() -> Any:
    """The dashboard."""
    return board(
        "heardback: Now",
        "heardback-now",
        "Who waits for an answer at this moment. Each customer with a name is on the live board.",
        ("Customers who wait", [*_numbers(), *_customers()]),
        ("Contacts and clocks", _contacts()),
        filters=[picked("tier", "responsiveness_waiting_customers")],
    )


def _numbers() -> list[Any]:
    return [
        number(
            "Overdue", "Customers who have waited longer than they were promised, each once.", COUNT,
            'sum(responsiveness_waiting_customers{state="overdue", tier=~"$tier"})',
            steps=ANY_IS_BAD, runbook="CustomersOverdue",
        ),
        number(
            "At risk", "Customers of whose promise a warning share is used up, and who are not overdue yet.", COUNT,
            'sum(responsiveness_waiting_customers{state="at_risk", tier=~"$tier"})',
            steps=ANY_IS_A_WARNING, runbook="at_risk",
        ),
        number(
            "Due within the hour", "Promises that end within the next hour of the clock on the wall unless they are "
            "kept; paused ones and those already broken are not among them.", COUNT,
            'sum(responsiveness_due_soon_contacts{tier=~"$tier"})',
            steps=ANY_IS_A_WARNING, runbook="at_risk",
        ),
        number("Waiting", "All customers who wait for an answer, late or not, each once.", COUNT, f"sum({_CUSTOMERS})"),
        number(
            "Longest wait", "How long the customer has waited who has waited longest, by the clock on the wall: nights "
            "and weekends count.", SECONDS, 'max(responsiveness_oldest_wait_seconds{tier=~"$tier"})',
            steps=((None, GREEN), (_DAY, YELLOW), (4 * _DAY, RED)), runbook="CustomerWaitsForDays",
        ),
        number(
            "Alerts in the last hour", "Alerts that fired within an hour, of every kind: one for each promise, "
            "dead end or bounce that somebody must know of. All tiers.", COUNT,
            'round(sum(increase(responsiveness_alerts_total{state="firing"}[1h])))',
        ),
    ]  # fmt: skip


def _customers() -> list[Any]:
    return [
        listing(
            "Who has waited longest", "The customers who have waited longest for an answer, all tiers, as many as "
            "limits.worst_customers allows. A name leads to the journey on the board.", SECONDS,
            {"waiting for": "sort_desc(max by (customer_id) (responsiveness_worst_wait_seconds))"},
            units={"waiting for": SECONDS}, sorted_by="waiting for", links={"customer_id": CUSTOMER_URL},
            runbook="CustomerWaitsForDays",
        ),
        graph(
            "Customers by how they stand", "Each customer once, by the worst of their clocks.", COUNT,
            Query(f"sum by (state) ({_CUSTOMERS})", "{{state}}"), stacked=True, runbook="CustomersOverdue",
        ),
        graph(
            "Overdue customers by tier", "Whom we let wait longest is not who pays most.", COUNT,
            Query('sum by (tier) (responsiveness_waiting_customers{state="overdue", tier=~"$tier"})', "{{tier}}"),
            runbook="ManyCustomersOverdue",
        ),
        graph(
            "Longest wait by tier", "By the clock on the wall. A line that climbs for days is one customer nobody "
            "sees.",
            SECONDS, Query('max by (tier) (responsiveness_oldest_wait_seconds{tier=~"$tier"})', "{{tier}}"),
            runbook="CustomerWaitsForDays",
        ),
    ]  # fmt: skip


def _contacts() -> list[Any]:
    return [
        graph(
            "Unanswered contacts by channel", "Contacts whose customer waits for a first or a next answer, by the door "
            "they came through. All tiers.", COUNT,
            Query(f"sum by (channel) (responsiveness_waiting_channel_contacts{{{ANSWERS}}})", "{{channel}}"),
            stacked=True,
        ),
        graph(
            "Overdue contacts by channel", "The same, and longer than promised. All tiers.", COUNT,
            Query(f'sum by (channel) (responsiveness_waiting_channel_contacts{{{ANSWERS}, state="overdue"}})',
                  "{{channel}}"),
            runbook="breach",
        ),
        graph(
            "Clocks by target and state", "Every clock that runs: a contact has one for each thing it was promised.",
            COUNT, Query('sum by (target, state) '
            '(responsiveness_waiting_contacts{tier=~"$tier"})', "{{target}} {{state}}"),
            stacked=True,
        ),
        graph(
            "Due within the hour, by target", "Promises that end within the next hour unless they are kept: the work "
            "of this hour.",
            COUNT, Query('sum by (target) (responsiveness_due_soon_contacts{tier=~"$tier"})', "{{target}}"),
            stacked=True, runbook="at_risk",
        ),
        graph(
            "Alerts by kind", "Alerts that fired, per hour. Many of one kind at once have one cause. All tiers.", COUNT,
            Query('round(sum by (kind) (increase(responsiveness_alerts_total{state="firing"}[1h])))', "{{kind}}"),
            bars=True, stacked=True, span=24,
        ),
    ]  # fmt: skip
