"""The receiver records every request and behaves as badly as it is told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import aiohttp
import pytest

from tests.servers.process import ServerError
from tests.servers.receiver import Answer, Receiver, Reset, Stall


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


async def post(receiver: Receiver, body: bytes = b"{}", *, seconds: float = 5) -> tuple[int, str | None]:
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.post(f"{receiver.url}/in", data=body) as got:
        return got.status, got.headers.get("Retry-After")


async def test_a_request_is_recorded_with_body_headers_and_arrival(receiver: Receiver) -> None:
    before = datetime.now(UTC)
    async with aiohttp.ClientSession() as session:
        await session.post(f"{receiver.url}/page?a=1", data=b'{"x": 1}', headers={"webhook-id": "m-1"})
    [request] = receiver.requests
    assert (request.method, request.path, request.body, request.json()) == ("POST", "/page?a=1", b'{"x": 1}', {"x": 1})
    assert request.headers["Webhook-Id"] == "m-1"
    assert before <= request.arrived <= datetime.now(UTC)


async def test_a_body_of_ten_megabytes_arrives_whole(receiver: Receiver) -> None:
    body = b"x" * 10_000_000
    assert await post(receiver, body) == (200, None)
    assert receiver.requests[0].body == body


async def test_a_refusal_says_when_to_come_back_and_is_not_counted_as_accepted(receiver: Receiver) -> None:
    receiver.next(Answer(status=503, retry_after="7"), Answer(status=429))
    assert [await post(receiver) for _ in range(3)] == [(503, "7"), (429, None), (200, None)]
    assert [request.status for request in receiver.requests] == [503, 429, 200]
    assert len(receiver.accepted) == 1


async def test_it_goes_on_refusing_until_told_otherwise(receiver: Receiver) -> None:
    receiver.always(Answer(status=500))
    assert [await post(receiver) for _ in range(2)] == [(500, None), (500, None)]
    receiver.always(Answer(status=202))
    assert await post(receiver) == (202, None)


async def test_a_reset_connection_was_recorded_but_its_sender_learns_nothing(receiver: Receiver) -> None:
    receiver.next(Reset())
    with pytest.raises(aiohttp.ClientOSError, match="reset"):
        await post(receiver)
    assert [request.status for request in receiver.requests] == [None]
    assert receiver.accepted == []
    assert await post(receiver) == (200, None)


async def test_a_stalled_request_waits_until_the_receiver_is_told_to_go_on(receiver: Receiver) -> None:
    receiver.always(Stall())
    with pytest.raises(TimeoutError):
        await post(receiver, seconds=0.3)
    waiting = asyncio.create_task(post(receiver))
    await receiver.arrived(lambda requests: len(requests) == 2)
    assert not waiting.done()
    receiver.always(Answer())
    assert await waiting == (200, None)


async def test_a_bounded_stall_ends_by_itself(receiver: Receiver) -> None:
    receiver.next(Stall(seconds=0.3))
    began = time.monotonic()
    assert await post(receiver) == (200, None)
    assert time.monotonic() - began >= 0.3


async def test_a_receiver_that_was_away_comes_back_on_the_same_address(receiver: Receiver) -> None:
    await post(receiver, b"1")
    await asyncio.to_thread(receiver.stop)
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(receiver, b"lost")
    await asyncio.to_thread(receiver.start)
    await post(receiver, b"2")
    assert [request.body for request in receiver.requests] == [b"1", b"2"]


async def test_leaving_does_not_wait_for_a_stalled_request(receiver: Receiver) -> None:
    receiver.always(Stall())
    waiting = asyncio.create_task(post(receiver))
    await receiver.arrived(lambda requests: requests)
    began = time.monotonic()
    await asyncio.to_thread(receiver.stop)
    assert time.monotonic() - began < 3
    with pytest.raises(aiohttp.ClientError):
        await waiting


def test_waiting_for_what_never_arrives_ends_with_an_error(receiver: Receiver) -> None:
    with pytest.raises(ServerError, match="not within"):
        receiver.wait(lambda requests: requests, seconds=0.2)
