"""*Channels and dead ends*: what customers tried, and where nobody would have answered them."""

from __future__ import annotations

from typing import Any

from deploy.grafana.panels import ANY_IS_A_WARNING, ANY_IS_BAD, COUNT, SHARE, Query, board, graph, number

_FORM = '{channel="form"}'


def channels() -> Any:
    """The dashboard."""
    return board(
        "heardback: Channels and dead ends",
        "heardback-channels",
        "Which doors customers knock on, and which of them lead nowhere. Counts of a day or an hour, all tiers.",
        ("The last 24 hours", _numbers()),
        ("Dead ends and bounces", _dead_ends()),
        ("What comes in, and what no longer does", _coming_in()),
    )


def _numbers() -> list[Any]:
    return [
        number(
            "Dead ends", "Attempts that landed where nobody will answer: bounced at our side, or a form that became no "
            "ticket.", COUNT, _day("responsiveness_dead_ends_total"), steps=ANY_IS_BAD, runbook="ManyDeadEnds",
        ),
        number(
            "Forms without a ticket", "Forms for which no contact came within the policy's dead_end_after.", COUNT,
            _day(f"responsiveness_dead_ends_total{_FORM}"), steps=ANY_IS_BAD, runbook="dead_end",
        ),
        number(
            "Our answers bounced", "Mails of ours that did not arrive, for good. An answer among them is taken "
            "back, and its clock runs on.", COUNT,
            _day('responsiveness_bounces_total{direction="outbound", permanent="true"}'),
            steps=ANY_IS_A_WARNING, runbook="OurMailBounces",
        ),
        number(
            "Customers' mails bounced", "Mails of customers that bounced at our side: an address that is gone, a "
            "mailbox that is full.", COUNT, _day('responsiveness_bounces_total{direction="inbound"}'),
            steps=ANY_IS_BAD, runbook="dead_end",
        ),
        number(
            "Sources gone silent", "Sources that always spoke in this part of their week, and did not.", COUNT,
            _alerts("silent_source"), steps=ANY_IS_BAD, runbook="silent_source",
        ),
        number(
            "Customers who chased", "Customers who asked again and again, over all channels, without an answer.", COUNT,
            _alerts("chasing"), steps=ANY_IS_BAD, runbook="chasing",
        ),
    ]  # fmt: skip


def _dead_ends() -> list[Any]:
    return [
        graph(
            "Dead ends by channel, per hour", "Several of one channel within an hour: that door is broken for "
            "everybody.",
            COUNT, Query(_hour("responsiveness_dead_ends_total", "channel"), "{{channel}}"),
            bars=True, stacked=True, runbook="ManyDeadEnds",
        ),
        graph(
            "Forms that became no ticket, as a share", "Dead ends of forms over the contacts that forms opened, "
            "each point looks back a day.", SHARE,
            Query(
                f"sum(increase(responsiveness_dead_ends_total{_FORM}[1d])) "
                f"/ (sum(increase(responsiveness_contacts_opened_total{_FORM}[1d])) > 0)",
                "forms",
            ),
            runbook="dead_end",
        ),
        graph(
            "Bounces per hour", "Outbound: our mail did not arrive. Inbound: theirs did not, at our side. "
            "Permanent or not.",
            COUNT,
            Query(
                "round(sum by (direction, permanent) (increase(responsiveness_bounces_total[1h])))",
                "{{direction}}, permanent {{permanent}}",
            ),
            bars=True, stacked=True, runbook="OurMailBounces",
        ),
        graph(
            "Closed on a waiting customer, per day", "By policy.", COUNT,
            Query("round(sum by (policy) (increase(responsiveness_silent_closes_total[1d])))", "{{policy}}"),
            bars=True, stacked=True, runbook="SilentCloses",
        ),
    ]  # fmt: skip


def _coming_in() -> list[Any]:
    return [
        graph(
            "Contacts that customers opened, per hour", "By the door they came through. A door that falls silent "
            "is worth a look.", COUNT,
            Query(_hour("responsiveness_contacts_opened_total", "channel"), "{{channel}}"),
            bars=True, stacked=True, runbook="silent_source",
        ),
        graph(
            "Contacts by tier, per hour", "Who writes to us.", COUNT,
            Query(_hour("responsiveness_contacts_opened_total", "tier"), "{{tier}}"), bars=True, stacked=True,
        ),
        graph(
            "Contacts that no policy covers, per day", "Nothing was promised to them, so nobody is told when they "
            "wait.",
            COUNT, Query("round(sum by (channel) (increase(responsiveness_uncovered_total[1d])))", "{{channel}}"),
            bars=True, stacked=True, runbook="NothingPromised",
        ),
        graph(
            "Sources that fell silent, and customers who chased, per day", "As alerts of these kinds fired.", COUNT,
            Query(
                'round(sum by (kind) (increase(responsiveness_alerts_total{kind=~"silent_source|chasing", '
                'state="firing"}[1d])))',
                "{{kind}}",
            ),
            bars=True, runbook="silent_source",
        ),
    ]  # fmt: skip


def _day(selector: str) -> str:
    return f"round(sum(increase({selector}[1d])))"


def _hour(metric: str, label: str) -> str:
    return f"round(sum by ({label}) (increase({metric}[1h])))"


def _alerts(kind: str) -> str:
    return _day(f'responsiveness_alerts_total{{kind="{kind}", state="firing"}}')
