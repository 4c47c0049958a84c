"""What is heard of libraries that say the same again and again."""

from __future__ import annotations

import logging

from streams.logs import KINDS_KEPT, REPEATED_AFTER_SECONDS, Seldom


class Heard:
    """Lines that a filter lets through, on a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._filter = Seldom(lambda: self.now)

    def __call__(self, name: str, words: str, *filled_in: object) -> tuple[str, int] | None:
        """The line and how often it was said meanwhile; None: not heard."""
        record = logging.LogRecord(name, logging.ERROR, __file__, 1, words, filled_in, None)
        return (record.getMessage(), getattr(record, "repeated", 0)) if self._filter.filter(record) else None


def test_a_library_that_repeats_itself_is_heard_once_in_a_while_and_how_often() -> None:
    heard = Heard()
    assert heard("aiokafka.conn", "node %s is away", 1) == ("node 1 is away", 0)
    assert [heard("aiokafka.conn", "node %s is away", node) for node in range(500)] == [None] * 500
    assert heard("aiokafka.conn", "node %s refuses", 1) == ("node 1 refuses", 0)
    heard.now = REPEATED_AFTER_SECONDS
    assert heard("aiokafka.conn", "node %s is away", 2) == ("node 2 is away", 500)
    heard.now += REPEATED_AFTER_SECONDS
    assert heard("aiokafka.conn", "node %s is away", 2) == ("node 2 is away", 0)


def test_what_heardback_says_itself_is_always_heard() -> None:
    heard = Heard()
    assert [heard("streams.app", "an event") for _ in range(3)] == [("an event", 0)] * 3


def test_what_was_said_is_kept_within_a_bound() -> None:
    heard = Heard()
    assert all(heard("asyncio", f"task {number} was destroyed") for number in range(KINDS_KEPT + 1))
    assert heard("asyncio", "task 0 was destroyed") is not None
    assert heard("asyncio", f"task {KINDS_KEPT} was destroyed") is None
