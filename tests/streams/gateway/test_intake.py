"""`POST /v1/events`: what is taken, what is refused and how, and what it does to others."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import aiohttp
import orjson
import pytest

from schemas.codec import decode
from schemas.events import ContactOpened
from streams.engine.identity import Directory
from streams.transport import BrokerUnreachable, RecordTooLarge
from tests.streams.gateway.conftest import Pipeline, event, opened

ROUTE = "/v1/events"
JSON = {"Content-Type": "application/json"}


async def send(client: aiohttp.ClientSession, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """The status and the answer to a body: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    async with client.post(ROUTE, data=data, headers=JSON | headers) as response:
        return response.status, await response.json()


def faults(answer: dict[str, Any]) -> list[tuple[int | None, str, str | None]]:
    return [(fault["index"], fault["reason"], fault["field"]) for fault in answer["faults"]]


async def test_an_event_is_taken_and_published_as_it_was_written(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    body = json.dumps(event(), indent=2).encode()
    assert await send(client, body) == (202, {"ids": ["e-1"]})
    [publish] = pipeline.published
    assert (publish.key, publish.value, publish.headers) == (b"c-17", body, ())


async def test_an_array_is_taken_whole_each_event_with_its_own_bytes(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    first, second = b'{"n":[1,{"a":"]}"}],' + orjson.dumps(event(1))[1:], json.dumps(event(2), indent=1).encode()
    assert await send(client, b" [ " + first + b" ,\r\n" + second + b"\t] ") == (202, {"ids": ["e-1", "e-2"]})
    assert [publish.value for publish in pipeline.published] == [first, second]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=UTF-8",
        "application/cloudevents+json",
        "application/cloudevents-batch+json; charset=utf-8",
    ],
)
async def test_json_and_both_cloudevents_types_are_taken(client: aiohttp.ClientSession, content_type: str) -> None:
    status, _ = await send(client, [event()], **{"Content-Type": content_type})
    assert status == 202


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
async def test_another_content_type_is_415_and_says_what_is_wanted(
    client: aiohttp.ClientSession, pipeline: Pipeline, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    async with client.post(ROUTE, data=orjson.dumps(event()), headers=headers) as response:
        assert response.status == 415
        assert "application/cloudevents+json" in response.headers["Accept-Post"]
    assert pipeline.published == []


async def test_a_byte_order_mark_is_no_fault(client: aiohttp.ClientSession, pipeline: Pipeline) -> None:
    assert (await send(client, b"\xef\xbb\xbf" + orjson.dumps([event()])))[0] == 202
    assert pipeline.published[0].value.startswith(b"{")


async def test_an_empty_array_is_taken_and_nobody_is_bothered(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    pipeline.broker_fails = BrokerUnreachable("away")
    assert await send(client, []) == (202, {"ids": []})


async def test_the_same_event_twice_is_taken_twice(client: aiohttp.ClientSession, pipeline: Pipeline) -> None:
    assert (await send(client, [event(), event()]))[0] == 202
    assert (await send(client, event()))[0] == 202
    assert len(pipeline.published) == 3


async def test_binary_mode_has_the_attributes_in_headers_and_is_published_so(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    attributes = {key: value for key, value in event().items() if key != "data"} | {"subject": "T-%C3%A9%20%22"}
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    body = orjson.dumps(event()["data"])
    assert await send(client, body, **headers) == (202, {"ids": ["e-1"]})
    [publish] = pipeline.published
    assert publish.value == body
    read = decode(publish.value, publish.headers)
    assert isinstance(read, ContactOpened)
    assert (read.subject, read.data.customer_id) == ('T-é "', "c-17")


async def test_faults_of_binary_mode_are_all_named_too(client: aiohttp.ClientSession, pipeline: Pipeline) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/x", "ce-type": "contact.opened"}
    status, answer = await send(client, {"channel": "pigeon"}, **headers)
    assert status == 422
    assert faults(answer) == [
        (0, "missing_field", "time"),
        (0, "missing_field", "subject"),
        (0, "unknown_value", "data.channel"),
    ]


async def test_binary_mode_takes_json_data_only(client: aiohttp.ClientSession) -> None:
    headers = {"ce-specversion": "1.0", "Content-Type": "application/cloudevents+json"}
    assert (await send(client, {}, **headers))[0] == 415


async def test_one_fault_and_nothing_is_published(client: aiohttp.ClientSession, pipeline: Pipeline) -> None:
    status, answer = await send(client, [event(1), event(2, type="contact.teleported"), event(3)])
    assert status == 422
    assert faults(answer) == [(1, "unknown_type", "type")]
    assert pipeline.published == []
    assert pipeline.refused == ["unknown_type"]


async def test_every_fault_of_every_event_is_named(client: aiohttp.ClientSession, pipeline: Pipeline) -> None:
    bad = event(1, time="2026-11-21T10:00:00", subject="", data={"customer_id": 17, "channel": "pigeon"})
    status, answer = await send(client, [bad, event(2), 17, event(3, data={"channel": "email"})])
    assert status == 422
    assert faults(answer) == [
        (0, "naive_instant", "time"),
        (0, "invalid_field", "subject"),
        (0, "invalid_field", "data.customer_id"),
        (0, "unknown_value", "data.channel"),
        (2, "not_an_object", None),
        (3, "no_customer", "data.customer_id"),
    ]
    assert all(fault["detail"] for fault in answer["faults"])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"type": "contact.teleported"}, "unknown_type"),
        ({"type": None}, "unknown_type"),
        ({"specversion": "0.3"}, "not_cloudevents"),
    ],
)
async def test_an_unknown_type_or_version_hides_no_fault_of_the_envelope(
    client: aiohttp.ClientSession, wrong: dict[str, object], reason: str
) -> None:
    bad = event(source=17, time="yesterday", data={"channel": "pigeon"}) | wrong
    del bad["subject"]
    status, answer = await send(client, bad)
    assert status == 422
    assert faults(answer) == [
        (0, reason, next(iter(wrong))),
        (0, "invalid_field", "source"),
        (0, "invalid_field", "time"),
        (0, "missing_field", "subject"),
    ]


async def test_what_looks_like_no_cloudevent_at_all_is_one_fault(client: aiohttp.ClientSession) -> None:
    status, answer = await send(client, {"hello": "world"})
    assert (status, faults(answer)) == (422, [(0, "not_cloudevents", "specversion")])


async def test_binary_mode_of_an_unknown_type_names_the_rest_too(client: aiohttp.ClientSession) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "e-1", "ce-type": "contact.teleported", "ce-subject": "T-1"}
    status, answer = await send(client, {"channel": "pigeon"}, **headers)
    assert status == 422
    assert faults(answer) == [
        (0, "unknown_type", "type"),
        (0, "missing_field", "source"),
        (0, "missing_field", "time"),
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "broken_json"),
        (b"{", "broken_json"),
        (b'[{"a": 1}', "broken_json"),
        (b"[1, NaN]", "broken_json"),
        (b"[" * 5_000 + b"]" * 5_000, "broken_json"),
        (b'{"id": "\xff"}', "broken_encoding"),
        ("{}".encode("utf-16"), "broken_encoding"),
    ],
)
async def test_a_body_that_is_no_json_is_400(
    client: aiohttp.ClientSession, pipeline: Pipeline, body: bytes, reason: str
) -> None:
    status, answer = await send(client, body)
    assert (status, faults(answer)) == (400, [(None, reason, None)])
    assert pipeline.published == []


async def test_nobody_outside_may_send_a_wake_up(client: aiohttp.ClientSession, pipeline: Pipeline) -> None:
    status, answer = await send(client, event(type="deadline.reached", data={"customer_id": "c-17"}))
    assert (status, faults(answer)) == (422, [(0, "reserved_type", "type")])


@pytest.mark.parametrize(
    ("time", "status", "reason"),
    [
        ("2026-11-21T10:10:00Z", 202, None),
        ("2026-11-21T10:10:00.000001Z", 422, "from_the_future"),
        ("2026-10-22T10:05:00Z", 202, None),
        ("2026-10-22T10:04:59Z", 422, "too_late"),
        ("1999-10-22T10:04:59Z", 422, "too_late"),
    ],
)
async def test_instants_beyond_the_limits_are_told_to_the_sender(
    client: aiohttp.ClientSession, time: str, status: int, reason: str | None
) -> None:
    found, answer = await send(client, event(time=time))
    assert found == status
    assert [fault["reason"] for fault in answer.get("faults", [])] == ([reason] if reason else [])


async def test_an_address_stands_for_the_customer_and_is_the_key(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    pipeline.directory = Directory()
    mail = event(type="message.received", data={"sender": "Ops@Example.com"})
    assert (await send(client, mail))[0] == 202
    assert pipeline.published[0].key == b"mailto:ops@example.com"


async def test_both_what_is_wrong_with_its_time_and_that_it_names_nobody_is_said(client: aiohttp.ClientSession) -> None:
    _, answer = await send(client, event(time="2030-01-01T00:00:00Z", data={"channel": "form"}))
    assert [fault["reason"] for fault in answer["faults"]] == ["from_the_future", "no_customer"]


async def test_an_event_too_large_for_a_record_is_refused_by_name(client: aiohttp.ClientSession) -> None:
    _, answer = await send(client, event(padding="x" * 1_000_001))
    assert [fault["reason"] for fault in answer["faults"]] == ["record_too_large"]


@pytest.mark.parametrize("depth", [300, 900, 1_000])
async def test_an_event_nested_beyond_reason_is_a_fault_in_either_mode(
    client: aiohttp.ClientSession, pipeline: Pipeline, depth: int
) -> None:
    nested = b'{"channel": "chat", "customer_id": "c", "x": ' + b"[" * depth + b"]" * depth + b"}"
    headers = {f"ce-{name}": value for name, value in event().items() if name != "data"}
    assert (await send(client, nested, **headers))[0] == 422
    whole = orjson.dumps(event())[:-1] + b', "extra": ' + b"[" * depth + b"]" * depth + b"}"
    assert (await send(client, whole))[0] == 422
    assert (await send(client, b"[" + whole + b"]"))[0] == 422
    assert pipeline.published == []


async def test_a_thousand_faults_are_listed_and_then_reading_stops(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    status, answer = await send(client, [0] * 50_000)
    assert status == 422
    assert len(answer["faults"]) == 1_000
    assert "perhaps more" in answer["error"]


async def test_a_broker_that_is_away_is_503_with_when_to_come_back(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    pipeline.broker_fails = BrokerUnreachable("kafka://10.0.0.1:9092: no answer within 5 s")
    async with client.post(ROUTE, json=event()) as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "10.0.0.1" not in await response.text()
    pipeline.broker_fails = None
    assert (await send(client, event()))[0] == 202


async def test_what_the_broker_finds_too_large_is_413(client: aiohttp.ClientSession, pipeline: Pipeline) -> None:
    pipeline.broker_fails = RecordTooLarge("1048577 bytes")
    assert (await send(client, event()))[0] == 413


async def test_a_broker_that_never_answers_is_503_in_bounded_time(pipeline: Pipeline) -> None:
    async def never(_events: object) -> None:
        await asyncio.Event().wait()

    async with opened(pipeline.gateway(publish=never, publish_seconds=0.1)) as client:
        assert (await send(client, event()))[0] == 503


async def test_a_body_that_says_it_is_too_large_is_413_before_it_is_sent(pipeline: Pipeline) -> None:
    async with opened(pipeline.gateway(body_bytes_max=10_000)) as client:
        reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)  # type: ignore[union-attr]
        head = f"POST {ROUTE} HTTP/1.1\r\nHost: 127.0.0.1:{client._base_url.port}\r\n"  # type: ignore[union-attr]
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 10001\r\n\r\n".encode())
        assert b" 413 " in await asyncio.wait_for(reader.readline(), 2)
        writer.close()


async def test_a_body_that_turns_out_too_large_is_413_without_reading_it_whole(pipeline: Pipeline) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        for _ in range(10_000):
            sent += 10_000
            yield b" " * 10_000

    async with opened(pipeline.gateway(body_bytes_max=100_000)) as client:
        try:
            async with client.post(ROUTE, data=endless(), headers=JSON) as response:
                assert response.status == 413
        except aiohttp.ClientConnectionError:
            pass  # it hung up on us while we were still sending
    assert sent < 50_000_000
    assert pipeline.published == []


async def test_a_packed_body_is_unpacked_and_bounded_unpacked(pipeline: Pipeline) -> None:
    packed = {"Content-Encoding": "gzip"}
    async with opened(pipeline.gateway(body_bytes_max=100_000)) as client:
        assert (await send(client, gzip.compress(orjson.dumps(event())), **packed))[0] == 202
        assert (await send(client, gzip.compress(b" " * 20_000_000), **packed))[0] == 413
        assert (await send(client, b"this is not gzip", **packed))[0] == 400
        assert (await send(client, gzip.compress(orjson.dumps(event()))[:-20], **packed))[0] == 400
    assert len(pipeline.published) == 1


async def test_a_slow_sender_is_given_up_and_stalls_nobody(pipeline: Pipeline) -> None:
    async with opened(pipeline.gateway(body_seconds=0.5)) as client:

        async def trickle() -> Any:
            yield b"["
            await asyncio.sleep(1.5)
            yield b"]"

        async def slow() -> int:
            async with client.post(ROUTE, data=trickle(), headers=JSON) as response:
                return response.status

        slowly = asyncio.create_task(slow())
        await asyncio.sleep(0.1)
        async with asyncio.timeout(0.4):
            assert (await send(client, event()))[0] == 202
        assert await slowly == 408


async def test_a_full_body_is_read_in_turns_with_others(client: aiohttp.ClientSession) -> None:
    body = orjson.dumps([event(number) for number in range(20_000)])
    assert len(body) > 4_000_000
    sending = asyncio.create_task(send(client, body))
    waits = []
    while not sending.done():
        began = asyncio.get_running_loop().time()
        async with client.get("/livez") as response:
            assert response.status == 200
        waits.append(asyncio.get_running_loop().time() - began)
    assert (await sending)[0] == 202
    assert len(waits) > 5


async def test_bodies_that_wait_for_the_broker_are_bounded_together(pipeline: Pipeline) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_events: object) -> None:
        begun.set()
        await go_on.wait()

    padded = event(padding="x" * 6_000)
    async with opened(pipeline.gateway(publish=slowly, in_hand_bytes_max=10_000)) as client:
        first = asyncio.create_task(send(client, padded))
        await begun.wait()
        assert (await send(client, padded))[0] == 503
        go_on.set()
        assert (await first)[0] == 202
        assert (await send(client, padded))[0] == 202
