"""What an index reads of a contact in the table, also of one that an earlier heardback wrote."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from streams.track.homes import Home
from streams.track.state import Running, decode_header


def header_of(*running: list[Any]) -> Any:
    return decode_header(orjson.dumps(["c-1", 9, False, list(running)]) + b"\n{}")


def test_the_clocks_that_run_are_read_as_they_were_written() -> None:
    header = header_of(
        ["acknowledgement", "overdue", "gold", 1, "chat", 2],
        ["first_response", "ok", "gold", 1, "chat", 5],
        ["resolution", "ok", "gold", 1, "chat", None],
    )
    assert header.running == (
        Running("acknowledgement", "overdue", "gold", "chat", 1, 2),
        Running("first_response", "ok", "gold", "chat", 1, 5),
        Running("resolution", "ok", "gold", "chat", 1, None),
    )


@pytest.mark.parametrize("due_us", [None, 5])
def test_an_instant_that_is_the_same_for_all_clocks_is_kept_once(due_us: int | None) -> None:
    header = header_of(
        ["first_response", "ok", None, 1, "email", due_us], ["resolution", "ok", None, 1, "email", due_us]
    )
    assert (header.since_us, header.due_us) == (1, due_us)
    assert [clock.due_us for clock in header.running] == [due_us, due_us]


def test_a_contact_written_before_channel_and_due_were_kept_can_be_read() -> None:
    [clock] = header_of(["first_response", "at_risk", "gold", 7]).running
    assert clock == Running("first_response", "at_risk", "gold", "other", 7, None)
    assert header_of().running == ()


def test_who_waits_in_a_home_is_every_clock_that_runs_with_its_own_instants() -> None:
    home = Home()
    clocks = ["first_response", "ok", "gold", 1, "chat", 5], ["resolution", "ok", "gold", 2, "chat", None]
    home.put("T-1", header_of(*clocks))
    home.put("T-2", header_of(clocks[0]))
    home.put("T-3", header_of())
    assert list(home.waiting()) == [
        ("first_response", "ok", "gold", "c-1", 1, "chat", 5),
        ("resolution", "ok", "gold", "c-1", 2, "chat", None),
        ("first_response", "ok", "gold", "c-1", 1, "chat", 5),
    ]
