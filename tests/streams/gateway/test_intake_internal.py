"""What homes tell each other travels in `contact-events` too, under headers of heardback's own: over HTTP nobody can
say such a thing, whichever way the event is written."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson
import pytest

from streams.track.moving import HOPS, LEAVES, MOVED
from streams.track.seats import GIVE_WAY, SEAT
from tests.streams.gateway.conftest import Pipeline, event

OURS = (MOVED, LEAVES, SEAT, GIVE_WAY, HOPS)


def written(content: dict[str, Any], binary: bool) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a request."""
    if not binary:
        return orjson.dumps(content), {"Content-Type": "application/cloudevents+json"}
    attributes = {f"ce-{name}": value for name, value in content.items() if name != "data"}
    return orjson.dumps(content["data"]), {"Content-Type": "application/json", **attributes}


@pytest.mark.parametrize("binary", [False, True], ids=["structured", "binary"])
@pytest.mark.parametrize("prefix", ["", "ce-"])
async def test_headers_of_ours_are_not_taken_over(
    client: aiohttp.ClientSession, pipeline: Pipeline, binary: bool, prefix: str
) -> None:
    body, headers = written(event(), binary)
    forged = {prefix + name: "1" for name in OURS}
    async with client.post("/v1/events", data=body, headers={**headers, **forged}) as answer:
        assert answer.status == 202
    [publish] = pipeline.published
    assert not {name for name, _ in publish.headers} & {*OURS, *(f"ce_{name}" for name in OURS)}
    assert {name.partition("_")[0] for name, _ in publish.headers} <= {"ce"}


@pytest.mark.parametrize("binary", [False, True], ids=["structured", "binary"])
async def test_a_wake_up_is_refused_by_name(client: aiohttp.ClientSession, pipeline: Pipeline, binary: bool) -> None:
    wakes = event(type="deadline.reached", source="/heardback")
    body, headers = written({**wakes, "data": {}}, binary)
    async with client.post("/v1/events", data=body, headers=headers) as answer:
        assert answer.status == 422
        assert [fault["reason"] for fault in (await answer.json())["faults"]] == ["reserved_type"]
    assert pipeline.published == []
