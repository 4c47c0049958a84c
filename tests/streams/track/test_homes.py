"""The index of one partition."""

from __future__ import annotations

from streams.track.homes import Home
from streams.track.state import Header


def test_of_customers_whose_contacts_nothing_ties_any_more_nothing_is_kept() -> None:
    home = Home()
    for entangled in (True, True, False):
        home.put("T-1", Header("c-1", None, entangled, (), (), ()))
        assert home.entangled("c-1") is entangled
    home.put("T-1", Header("c-2", None, True, (), (), ()))
    home.put("T-1", None)
    assert not home.tied
