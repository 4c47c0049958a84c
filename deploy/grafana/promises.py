"""*Promises*: what share was kept, against the objective, and how fast the rest is used up."""

from __future__ import annotations

from typing import Any

from deploy.grafana.panels import (
    COUNT,
    GREEN,
    NO_UNIT,
    RED,
    SECONDS,
    SHARE,
    YELLOW,
    Query,
    board,
    graph,
    listing,
    picked,
    ranking,
)

_OF = 'policy=~"$policy"'
_BUDGET = ((None, RED), (0, YELLOW), (0.25, GREEN))


def promises() -> Any:
    """The dashboard."""
    return board(
        "heardback: Promises",
        "heardback-promises",
        "The share of promises kept. A promise is counted when its verdict falls: broken at the due instant, answered "
        "or not. Objectives are set in deploy/prometheus/rules/objectives.yml.",
        ("Against the objective", _against_the_objective()),
        ("Where they are broken, over the time shown", _where()),
        ("How long it took, and what was closed instead", _how()),
        filters=[picked("policy", "responsiveness_outcomes_total")],
    )


def _against_the_objective() -> list[Any]:
    return [
        listing(
            "By policy, over 30 days", "Budget left: 1 is all of the promises that the objective allows to be "
            "broken, 0 none, below that the objective is missed. Burn: 1 uses the budget up in exactly 30 "
            "days.", NO_UNIT,
            {
                "kept": f"1 - policy:responsiveness_broken:ratio30d{{{_OF}}}",
                "objective": f"policy:responsiveness_objective:ratio{{{_OF}}} "
                f"and on (policy) policy:responsiveness_judged:increase30d{{{_OF}}}",
                "budget left": f"policy:responsiveness_budget_left:ratio30d{{{_OF}}}",
                "burn 1 h": f"policy:responsiveness_burn:ratio1h{{{_OF}}}",
                "burn 6 h": f"policy:responsiveness_burn:ratio6h{{{_OF}}}",
                "burn 3 d": f"policy:responsiveness_burn:ratio3d{{{_OF}}}",
                "broken": f"round(policy:responsiveness_broken:increase30d{{{_OF}}})",
            },
            units={"kept": SHARE, "objective": SHARE, "budget left": SHARE, "broken": COUNT}, span=24,
            runbook="PromiseBudgetSpent",
        ),
        ranking(
            "Budget left", "Of the promises that may be broken within 30 days, the share that has not been yet.", SHARE,
            f"policy:responsiveness_budget_left:ratio30d{{{_OF}}}", "{{policy}}", steps=_BUDGET, span=8, most=1,
            runbook="PromiseBudgetSpent",
        ),
        graph(
            "Kept, over three days, and the objective", "Each point looks back three days.", SHARE,
            Query(f"1 - policy:responsiveness_broken:ratio3d{{{_OF}}}", "{{policy}}"),
            Query(f"policy:responsiveness_objective:ratio{{{_OF}}}", "{{policy}} objective"),
            span=16, runbook="PromisesBreakSlowly",
        ),
        graph(
            "Burn: the last hour", "How many times faster than the objective allows promises were broken. Pages "
            "above 14.4 (or four of five), if the last five minutes agree.", NO_UNIT,
            Query(f"policy:responsiveness_burn:ratio1h{{{_OF}}}", "{{policy}}"),
            steps=((None, GREEN), (14.4, RED)), span=8, runbook="PromisesBreakFast",
        ),
        graph(
            "Burn: the last six hours", "Pages above 6 (or half of them), if the last half hour agrees.", NO_UNIT,
            Query(f"policy:responsiveness_burn:ratio6h{{{_OF}}}", "{{policy}}"),
            steps=((None, GREEN), (6, RED)), span=8, runbook="PromisesBreak",
        ),
        graph(
            "Burn: the last three days", "Warns above 1, if the last six hours agree.", NO_UNIT,
            Query(f"policy:responsiveness_burn:ratio3d{{{_OF}}}", "{{policy}}"),
            steps=((None, GREEN), (1, YELLOW)), span=8, runbook="PromisesBreakSlowly",
        ),
    ]  # fmt: skip


def _where() -> list[Any]:
    return [
        ranking("Kept by policy and target", "The share of verdicts that were kept.", SHARE,
                _kept("policy, target"), "{{policy}} {{target}}", steps=_KEPT, span=10, most=1),
        ranking("Kept by tier", "Whether those who matter most to us hear back soonest.", SHARE,
                _kept("tier"), "{{tier}}", steps=_KEPT, span=7, most=1),
        ranking("Kept by channel", "Which door is slow.", SHARE,
                _kept("channel"), "{{channel}}", steps=_KEPT, span=7, most=1),
        graph(
            "Verdicts per hour", "Void ones were never owed: spam, merged, closed in time without an answer.", COUNT,
            Query(f"round(sum by (verdict) (increase(responsiveness_outcomes_total{{{_OF}}}[1h])))", "{{verdict}}"),
            bars=True, stacked=True, span=24, runbook="breach",
        ),
    ]  # fmt: skip


def _how() -> list[Any]:
    return [
        graph(
            "Open time to what was promised: half and nine of ten", "Of the promises that ended within six hours, "
            "by their target, kept or not. Who still waits is not among them: see Now. All policies.", SECONDS,
            Query(_within(0.5), "{{target}} half"), Query(_within(0.9), "{{target}} nine of ten"),
        ),
        graph(
            "Silent closes per day", "Contacts closed on a customer who waits. Closed in time they are void, and "
            "hide in no share of kept promises but here.", COUNT,
            Query(f"round(sum by (policy) (increase(responsiveness_silent_closes_total{{{_OF}}}[1d])))", "{{policy}}"),
            bars=True, stacked=True, runbook="SilentCloses",
        ),
    ]  # fmt: skip


_KEPT = ((None, RED), (0.8, YELLOW), (0.95, GREEN))


def _kept(labels: str) -> str:
    def of(verdicts: str) -> str:
        selector = f'responsiveness_outcomes_total{{{_OF}, verdict=~"{verdicts}"}}'
        return f"sum by ({labels}) (increase({selector}[$__range]))"

    return f"{of('kept')} / ({of('kept|broken')} > 0)"


def _within(share: float) -> str:
    return f"histogram_quantile({share}, sum by (le, target) (rate(responsiveness_response_seconds_bucket[6h])))"
