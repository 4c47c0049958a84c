"""The language of timelines finds what is missing, what is too much, too early and too late."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.acceptance.timeline import Timeline, Told


def story_of(*told: str) -> Timeline:
    """A timeline in which a receiver is told this at once."""
    got: list[Told] = []
    story = Timeline({"pager": lambda: got}, settle_seconds=0.05)
    for what in told:
        story.at(0, lambda what=what: got.append(Told(datetime.now(UTC), what)))
    return story


def test_what_is_told_as_wanted_is_right_and_the_next_part_begins_after_it() -> None:
    story = story_of("page", "end")
    story.want("pager", "page", since=0, until=5)
    story.want("pager", "end", since=0, until=5)
    story.run()
    story.run()


@pytest.mark.parametrize(
    ("told", "since", "until", "wrong"),
    [
        ([], 0, 0.2, "pager: never told: page"),
        (["page", "page"], 0, 5, "not wanted: page"),
        (["page", "else"], 0, 5, "not wanted: else"),
        (["page"], 3, 5, "wanted between 3 and 5 s: page"),
        (["page"], 0, 0.0, "wanted between 0 and 0.0 s: page"),
    ],
    ids=["missing", "doubled", "something else", "too early", "too late"],
)
def test_whatever_is_wrong_is_said(told: list[str], since: float, until: float, wrong: str) -> None:
    story = story_of(*told)
    story.want("pager", "page", since=since, until=until)
    with pytest.raises(AssertionError, match=wrong):
        story.run()
