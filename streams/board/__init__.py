"""Who is waiting now: a read model of outcomes, journeys and alerts, one entry for each customer.

    board = Board(client, topic_name, customers, now=...)
    board.start()                            # reads from the beginning, then follows; `caught_up` says how far
    standing = await board.standing()        # everybody, ranked, at this instant
    for ranked in standing.asked(Filter(tier="gold"))[:100]:
        standing.row(ranked)                 # one customer in full

How it is drawn belongs to `streams.gateway`; what has ended to the facts store and the weekly report.
"""

from streams.board.heard import Alert, Attempt, Clock, Journey
from streams.board.live import Board
from streams.board.paging import Paging
from streams.board.standing import FILTERS, NONE, Filter, Ranked, Row, Standing, Tried
from streams.board.waiting import Entry, Lately, Waiting

__all__ = [
    "FILTERS",
    "NONE",
    "Alert",
    "Attempt",
    "Board",
    "Clock",
    "Entry",
    "Filter",
    "Journey",
    "Lately",
    "Paging",
    "Ranked",
    "Row",
    "Standing",
    "Tried",
    "Waiting",
]
