"""How a Kafka group shares partitions out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.transport import TransportError
from streams.transport.kafka import hosts_of
from streams.transport.kafka_member import CopartitionedAssignor, shares

CLAIMS = st.dictionaries(st.text(min_size=1, max_size=3), st.lists(st.integers(0, 12), max_size=8), min_size=1)


@given(st.integers(0, 12), CLAIMS)
def test_every_partition_has_one_owner_and_shares_differ_by_one_at_most(
    count: int, claims: dict[str, list[int]]
) -> None:
    dealt = shares(list(range(count)), claims)
    assert sorted(number for some in dealt.values() for number in some) == list(range(count))
    sizes = [len(some) for some in dealt.values()]
    assert set(dealt) == set(claims)
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 12), CLAIMS)
def test_what_was_dealt_once_is_dealt_again(count: int, claims: dict[str, list[int]]) -> None:
    dealt = shares(list(range(count)), claims)
    assert shares(list(range(count)), {member: sorted(some) for member, some in dealt.items()}) == dealt


def test_a_newcomer_takes_only_what_is_needed() -> None:
    assert shares([0, 1, 2, 3], {"old": [0, 1, 2, 3], "new": []}) == {"old": {0, 1}, "new": {2, 3}}


class Cluster:
    def __init__(self, **counts: int) -> None:
        self.counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self.counts[topic])) if topic in self.counts else None


def test_a_number_of_every_topic_goes_to_the_same_member_and_is_remembered() -> None:
    members = [CopartitionedAssignor() for _ in range(2)]
    said = {f"m{n}": member.metadata(["events", "outcomes", "single"]) for n, member in enumerate(members)}
    given_to = members[0].assign(Cluster(events=4, outcomes=4, single=1), said)
    for name, member in zip(said, members, strict=True):
        by_topic = dict(given_to[name].assignment)
        assert by_topic["events"] == by_topic["outcomes"]
        member.on_assignment(given_to[name])
    again = {f"n{n}": member.metadata(["events", "outcomes", "single"]) for n, member in enumerate(members)}
    dealt = members[1].assign(Cluster(events=4, outcomes=4, single=1), again)
    assert [dict(some.assignment)["events"] for some in dealt.values()] == [
        dict(some.assignment)["events"] for some in given_to.values()
    ]


def test_a_claim_that_cannot_be_read_is_no_claim() -> None:
    said = CopartitionedAssignor().metadata(["events"])
    broken = type(said)(said.version, said.subscription, b"\xff{")
    assert dict(CopartitionedAssignor().assign(Cluster(events=2), {"m": broken})["m"].assignment) == {"events": [0, 1]}


def test_a_url_names_one_or_more_hosts() -> None:
    assert hosts_of("kafka://a:1,b") == ["a:1", "b:9092"]
    assert hosts_of("kafka://a:1;kafka://b:2") == ["a:1", "b:2"]
    with pytest.raises(TransportError, match="wanted kafka://HOST:PORT"):
        hosts_of("kafka://")
