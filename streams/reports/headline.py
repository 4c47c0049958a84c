"""One sentence or two that say how the week went, written from its numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

from streams.reports import wording
from streams.reports.customers import Customers, LetDown, StillWaiting
from streams.reports.shares import Share
from streams.reports.week import Week


def headline(answers: Share, customers: Customers, week: Week) -> str:
    """`answers` are the promises of an answer whose verdict fell in the week."""
    sentences = [_promises(answers, customers)]
    if customers.let_down:
        sentences.append(_let_down(customers.let_down))
    if customers.waiting:
        sentences.append(_waiting(customers.waiting, week))
    if customers.closed_on:
        closed = wording.counted(customers.closed_on, "customer waits", "customers wait")
        sentences.append(f"{closed} in contacts that were closed on them.")
    return " ".join(sentences)


def _promises(answers: Share, customers: Customers) -> str:
    if not answers.n:
        return "No promise of an answer fell due in this week."
    if answers.kept == answers.n:
        kept = "the one promise" if answers.n == 1 else f"all {answers.n:,} promises"
        lead = "Not every customer heard back" if customers.let_down else "Every customer heard back as promised"
        return f"{lead}: {kept} of an answer kept."
    share = wording.percent(answers.kept_share)
    return (
        f"Not every customer heard back as promised: {answers.kept:,} of "
        f"{wording.counted(answers.n, 'promise', 'promises')} of an answer kept ({share})."
    )


def _let_down(let_down: Sequence[LetDown]) -> str:
    worst = let_down[0]
    who = f"{wording.counted(len(let_down), 'customer was', 'customers were')} let down"
    longest = wording.wall(worst.wall_seconds)
    if not worst.waits:
        return f"{who}, the longest {worst.customer_id}, who waited {longest}."
    wait = worst.waits[0]
    channels = wording.listed(list(dict.fromkeys(one.channel for one in wait.tries)))
    tried = f"tried {wording.counted(len(wait.tries), 'time')} ({channels}) and " if len(wait.tries) > 1 else ""
    return (
        f"{who}, the longest {worst.customer_id}, who {tried}{'waited' if wait.ended_at else 'has waited'} {longest}."
    )


def _waiting(waiting: Sequence[StillWaiting], week: Week) -> str:
    since = wording.local(waiting[0].wait.started_at, week.time_zone, week.year)
    overdue = sum(one.overdue_since is not None for one in waiting)
    late = f", {overdue:,} of them over what was promised" if overdue else ", none over what was promised"
    who = wording.counted(len(waiting), "customer still waits", "customers still wait")
    return f"{who} as the week ends{late}, the longest since {since}."
