"""When heardback cannot see, by what it has looked at."""

from __future__ import annotations

from alerting.sight import Look, Sight

LIMIT = 300.0


def look(end: int = 10, read: int = 10, refused: int = 0, *, recovered: bool = True, **more: int) -> Look:
    return Look({0: end, 1: more.get("other", 0)}, {0: read, 1: more.get("other", 0)}, refused, recovered)


def reason(sight: Sight, at_seconds: float) -> str | None:
    found = sight.blind(at_seconds)
    return None if found is None else found.reason


def test_who_has_read_everything_sees() -> None:
    sight = Sight(LIMIT)
    assert reason(sight, 0) is None
    for at_seconds in range(0, 3_600, 10):
        sight.looked(look(end=at_seconds, read=at_seconds), at_seconds)
        assert reason(sight, at_seconds) is None


def test_what_arrived_and_is_not_read_for_longer_than_the_limit_is_blindness() -> None:
    sight = Sight(LIMIT)
    for at_seconds in (0, 100, 300):
        sight.looked(look(end=20 + at_seconds, read=10), at_seconds)
    assert reason(sight, 300) is None
    assert reason(sight, 301) == "lag"
    sight.looked(look(end=400, read=400), 310)
    assert reason(sight, 310) is None


def test_a_reader_that_keeps_up_with_a_busy_log_sees() -> None:
    sight = Sight(LIMIT)
    for at_seconds in range(0, 3_600, 10):  # always 20 seconds behind, never at the end
        sight.looked(look(end=100 + at_seconds, read=80 + at_seconds), at_seconds)
        assert reason(sight, at_seconds) is None


def test_a_reader_that_falls_behind_by_more_than_the_limit_is_blind_though_it_reads() -> None:
    sight = Sight(LIMIT)
    found = []
    for at_seconds in range(0, 3_600, 10):
        sight.looked(look(end=1_000 + at_seconds, read=at_seconds), at_seconds)
        found.append(reason(sight, at_seconds))
    assert found[-1] == "lag"


def test_a_partition_that_nobody_reads_is_enough() -> None:
    sight = Sight(LIMIT)
    for at_seconds in (0, 200, 400):
        sight.looked(Look({0: at_seconds, 1: 5}, {0: at_seconds}, 0, True), at_seconds)
    assert reason(sight, 400) == "lag"


def test_a_broker_that_does_not_answer_for_so_long_is_blindness_until_it_does() -> None:
    sight = Sight(LIMIT)
    sight.looked(look(), 0)
    for at_seconds in (10, 200, 310):
        sight.failed(at_seconds)
    assert reason(sight, 310) is None
    assert reason(sight, 311) == "broker_away"
    sight.looked(look(), 320)
    assert reason(sight, 320) is None


def test_tables_that_do_not_recover_are_blindness() -> None:
    sight = Sight(LIMIT)
    for at_seconds in (1, 200, 302):
        sight.looked(look(recovered=False), at_seconds)
    assert reason(sight, 302) == "recovery"
    sight.looked(look(), 303)
    assert reason(sight, 303) is None


def test_most_of_what_comes_being_refused_is_blindness_and_a_bad_export_beside_is_not() -> None:
    flood, beside = Sight(LIMIT), Sight(LIMIT)
    for number, at_seconds in enumerate((0, 100, 200)):
        flood.looked(look(end=40 * number, read=40 * number, refused=30 * number), at_seconds)
        beside.looked(look(end=400 * number, read=400 * number, refused=30 * number), at_seconds)
    assert reason(flood, 200) == "refusals"
    assert reason(beside, 200) is None
    flood.looked(look(end=80, read=80, refused=60), 501)
    assert reason(flood, 501) is None


def test_a_handful_of_refusals_is_no_flood() -> None:
    sight = Sight(LIMIT)
    sight.looked(look(), 0)
    sight.looked(look(end=59, read=59, refused=49), 100)
    assert reason(sight, 100) is None


def test_it_says_for_how_long() -> None:
    sight = Sight(LIMIT)
    sight.failed(100)
    found = sight.blind(500)
    assert found is not None
    assert (found.words, found.seconds) == ("the broker does not answer", 400)
