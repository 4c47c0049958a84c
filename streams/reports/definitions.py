"""What each number of the report means, in words that stand beside it."""

from __future__ import annotations

from typing import Final

DEFINITIONS: Final = {
    "week": (
        "From local midnight to local midnight, the first included, the last not. Everything is told as it stood when "
        "the week ended, or when the facts end where that is earlier: what came later had not come yet."
    ),
    "kept": (
        "Promises kept among all whose verdict fell in this week: kept when the answer came (the work was done) in "
        "time, broken at the due instant, whenever that was noticed, closed when the contact was closed with the "
        "customer's message unanswered. Each promise counts once, in that week alone. The unanswered and the silently "
        "closed count as not kept. Void promises (spam, tests, duplicates, merged contacts) do not count. Shares are "
        "rounded down."
    ),
    "waits": (
        "Waits for an answer that began in this week, from the customer's message to a human's answer. Half of the "
        "customers (nine of ten) had been answered within the time shown. A wait that was not over counts as far as it "
        "had come (Kaplan and Meier), one that was closed unanswered as never answered; “over” means that fewer had "
        "been answered by then. There is no mean: it would leave out those who got no answer."
    ),
    "let_down": (
        "Customers whose promise of a first or next answer broke or was closed unanswered in this week, or had broken "
        "before while they went on waiting, or who knocked where nobody would answer. The longest wait first, from "
        "their first attempt on any channel to a human's answer on any channel, in all and in the open time of the "
        "calendar that was promised."
    ),
    "dead_ends": (
        "Attempts found in this week that landed where nobody would answer: a customer's mail that bounced at our "
        "side, a form that had become no ticket in the time allowed."
    ),
    "taken_back": (
        "Answers of ours that bounced, found in this week. The customer had not heard, so the clock ran on from its "
        "start."
    ),
    "silent_closes": (
        "Contacts that were closed in this week while the customer's message was unanswered. The desk counts them as "
        "resolved."
    ),
    "waiting": (
        "Customers whom no human had answered as the week ended, the longest first. Those who wait only in contacts "
        "that were closed on them are counted, not listed: nobody works on an answer."
    ),
    "alerts": "Alerts that fired in this week, each once per kind.",
}
