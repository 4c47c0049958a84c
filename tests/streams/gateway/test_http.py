"""Pages, health and explanations; what every answer carries; who may ask."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
import structlog
from yarl import URL

from streams.engine.explain import explain, to_json
from streams.gateway import Listen, Liveness, Readiness, Server, UnsafeListen, create_http
from streams.transport import BrokerUnreachable
from tests.streams.engine.told import EVERYBODY, PROMISED, at, contacts
from tests.streams.gateway.conftest import Pipeline, event, opened

STORY = """
    Mon 17:00 A opened channel=form url=https://desk.example/4711 queue=<script>alert(1)</script>
    Tue 09:10 A paused reason=on_hold by=anna
    Tue 15:30 A answered by=bo
"""


def explanation(story: str = STORY) -> dict[str, Any]:
    """What the engine says of contact A."""
    found = explain("A", contacts(story), PROMISED, lambda _: EVERYBODY, at("Fri 18:00"))
    assert found is not None
    return to_json(found)


EXPLANATION = explanation()


async def text(client: aiohttp.ClientSession, path: str, **headers: str) -> tuple[int, str]:
    async with client.get(path, headers=headers) as response:
        return response.status, await response.text()


async def test_ready_is_200_and_not_ready_is_503_with_each_reason(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    assert await text(client, "/readyz") == (200, "ready\n")
    pipeline.readiness = Readiness(reasons=("tables recover: 3 of 8 partitions", "the broker is away"))
    assert await text(client, "/readyz") == (503, "tables recover: 3 of 8 partitions\nthe broker is away\n")
    async with client.get("/readyz", headers={"Accept": "application/json"}) as response:
        assert await response.json() == {
            "ready": False,
            "reasons": ["tables recover: 3 of 8 partitions", "the broker is away"],
        }


async def test_alive_is_progress_within_the_limit(client: aiohttp.ClientSession, pipeline: Pipeline) -> None:
    assert await text(client, "/livez") == (200, "alive\n")
    pipeline.liveness = Liveness(stalled_seconds=61.0, limit_seconds=60.0)
    status, words = await text(client, "/livez")
    assert status == 503
    assert "61 s" in words
    async with client.get("/livez?format=json") as response:
        assert (await response.json())["alive"] is False


async def test_metrics_come_as_they_are_handed_in(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await response.text() == "answers_total 1\n"


async def test_the_first_page_says_who_it_is_and_what_there_is(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    status, page = await text(client, "/")
    assert status == 200
    assert "Did every customer hear back?" in page
    assert 'href="/metrics"' in page
    pipeline.readiness = Readiness(reasons=("tables recover",))
    assert "tables recover" in (await text(client, "/"))[1]


@pytest.mark.parametrize("path", ["zendesk/acme:4711", "zendesk%2Facme%3A4711", "zendesk%2facme:4711"])
async def test_a_contact_is_found_by_its_id_percent_encoded_or_not(
    client: aiohttp.ClientSession, pipeline: Pipeline, path: str
) -> None:
    pipeline.contacts["zendesk/acme:4711"] = EXPLANATION
    async with client.get(URL(f"/contacts/{path}", encoded=True), headers={"Accept": "application/json"}) as response:
        assert response.status == 200
        assert await response.json() == orjson.loads(orjson.dumps(EXPLANATION))


@pytest.mark.parametrize("contact_id", ["mail:<a%25b+c@example.com>", "né/ö?x=1#y", "a//b", " spaced ", "100%", "T-1/"])
async def test_any_id_comes_through_whole(client: aiohttp.ClientSession, pipeline: Pipeline, contact_id: str) -> None:
    pipeline.contacts[contact_id] = {"contact_id": contact_id}
    url = URL(f"/contacts/{quote(contact_id, safe='')}?format=json", encoded=True)
    async with client.get(url) as response:
        assert response.status == 200
        assert await response.json() == {"contact_id": contact_id}


async def test_an_explanation_is_a_page_for_people_with_everything_in_it_escaped(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    pipeline.contacts["T-1"] = EXPLANATION
    status, page = await text(client, "/contacts/T-1", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert status == 200
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert '<a href="https://desk.example/4711" rel="noreferrer">' in page
    assert "first response 1: broken, answered late" in page
    assert "7 h of 22 h 30 min" in page
    assert '<time datetime="2026-11-16T17:00:00Z">Mon 2026-11-16 17:00</time>' in page
    assert "on hold, by anna" in page
    assert "outside hours" in page


@pytest.mark.parametrize(
    "story",
    [
        "Mon 10:00 A answered",
        "Mon 10:00 A opened\nMon 10:01 B opened\nMon 10:05 A merged into=B",
        "Mon 10:00 A opened\nMon 10:01 A voided reason=spam",
        "Mon 10:00 A opened\nMon 10:05 A answered\nMon 10:06 A bounced\nMon 11:00 A resolved",
        "Mon 10:00 A opened channel=phone priority=low",
    ],
)
async def test_whatever_the_engine_explains_can_be_shown(
    client: aiohttp.ClientSession, pipeline: Pipeline, story: str
) -> None:
    pipeline.contacts["A"] = explanation(story)
    assert (await text(client, "/contacts/A"))[0] == 200


async def test_times_are_those_of_the_calendar(client: aiohttp.ClientSession, pipeline: Pipeline) -> None:
    pipeline.contacts["A"] = EXPLANATION | {"time_zone": "America/New_York"}
    assert ">Mon 2026-11-16 12:00</time>" in (await text(client, "/contacts/A"))[1]


async def test_an_address_that_is_not_http_is_no_link(client: aiohttp.ClientSession, pipeline: Pipeline) -> None:
    pipeline.contacts["A"] = EXPLANATION | {"url": "javascript:alert(1)"}
    page = (await text(client, "/contacts/A"))[1]
    assert "javascript:alert(1)" in page
    assert 'href="javascript' not in page


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("application/json, */*", True),
        ("*/*", False),
        ("text/html, application/json", False),
        ("text/html;q=0.5, application/json", True),
        ("text/html, application/json;q=0.1", False),
        ("application/json;q=oops", True),
    ],
)
async def test_json_is_for_who_asks_for_it(
    client: aiohttp.ClientSession, pipeline: Pipeline, accept: str, is_json: bool
) -> None:
    pipeline.contacts["T-1"] = EXPLANATION
    async with client.get("/contacts/T-1", headers={"Accept": accept}) as response:
        assert (response.content_type == "application/json") is is_json


async def test_an_instant_may_be_asked_for_and_must_have_a_zone(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    pipeline.contacts["T-1"] = EXPLANATION
    assert (await text(client, "/contacts/T-1"))[0] == 200
    assert (await text(client, "/contacts/T-1?at=2026-11-21T11:00:00+01:00"))[0] == 200
    assert [at and at.astimezone(UTC) for at in pipeline.asked_at] == [None, datetime(2026, 11, 21, 10, tzinfo=UTC)]
    for wrong in ("yesterday", "2026-11-21T10:00:00", ""):
        status, page = await text(client, f"/contacts/T-1?at={wrong}")
        assert (status, "Wanted an instant" in page) == (400, True)


async def test_an_unknown_contact_is_404_in_words(client: aiohttp.ClientSession) -> None:
    status, page = await text(client, "/contacts/<b>T-1")
    assert status == 404
    assert "No contact &lt;b&gt;T-1 is known here." in page
    async with client.get("/contacts/T-1?format=json") as response:
        assert (await response.json())["error"] == "No contact T-1 is known here."


async def test_while_tables_recover_an_unknown_contact_is_503_with_what_is_going_on(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    pipeline.readiness = Readiness(reasons=("tables recover: 3 of 8 partitions",))
    pipeline.contacts["T-2"] = EXPLANATION
    async with client.get("/contacts/T-1") as response:
        assert response.status == 503
        assert "Retry-After" in response.headers
        assert "3 of 8 partitions" in await response.text()
    assert (await text(client, "/contacts/T-2"))[0] == 200


async def test_an_explanation_that_the_broker_keeps_back_is_503(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    pipeline.explain_fails = BrokerUnreachable("away")
    assert (await text(client, "/contacts/T-1"))[0] == 503


async def test_a_failure_of_ours_is_500_in_words_and_the_log_has_none_of_the_customers(
    client: aiohttp.ClientSession, pipeline: Pipeline
) -> None:
    pipeline.explain_fails = KeyError("ops@example.com wrote: help")
    with structlog.testing.capture_logs() as logged:
        status, page = await text(client, "/contacts/mail:ops@example.com")
    assert status == 500
    assert "Traceback" not in page
    assert [entry["event"] for entry in logged] == ["http_failed", "http_request"]
    assert "ops@example.com" not in str(logged)
    assert logged[0]["error"] == "KeyError"


async def test_each_request_is_one_line_of_log_without_path_address_or_token(pipeline: Pipeline) -> None:
    async with opened(pipeline.gateway(), Listen(token="open-sesame")) as client:
        with structlog.testing.capture_logs() as logged:
            await text(client, "/contacts/mail:ops@example.com?x=y", Authorization="Bearer open-sesame")
            await text(client, "/nowhere/ops@example.com", Authorization="Bearer wrong-sesame")
    assert [(entry["route"], entry["status"]) for entry in logged] == [("/contacts/{contact_id}", 404), ("none", 401)]
    assert "example.com" not in str(logged)
    assert "sesame" not in str(logged)


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/contacts/T-1", "/nowhere", "/v1/events"])
async def test_every_answer_tells_browsers_to_run_nothing_and_keep_nothing(
    client: aiohttp.ClientSession, pipeline: Pipeline, path: str
) -> None:
    pipeline.contacts["T-1"] = EXPLANATION
    async with client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'")
        assert "unsafe" not in policy
        assert {"base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"} <= set(policy.split("; "))
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Server"] == "heardback"


async def test_style_and_icon_come_from_the_package_under_a_name_that_changes_with_them(
    client: aiohttp.ClientSession,
) -> None:
    async with client.get("/") as response:
        page = await response.text()
    assert "<style" not in page
    assert " style=" not in page
    [path] = re.findall(r'href="(/static/style\.[0-9a-f]{12}\.css)"', page)
    async with client.get(path) as response:
        assert (response.status, response.content_type) == (200, "text/css")
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    for nothing in ("/static/style.css", "/static/style.000000000000.css", "/static/..%2fpages.py", "/static/"):
        async with client.get(URL(nothing, encoded=True)) as response:
            assert response.status == 404
            assert response.headers["Cache-Control"] == "no-store"


async def test_another_method_is_405_and_another_path_404_in_words(client: aiohttp.ClientSession) -> None:
    async with client.delete("/metrics") as response:
        assert response.status == 405
        assert "GET" in response.headers["Allow"]
    assert (await text(client, "/nowhere"))[0] == 404


# -- who may ask


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "heardback.example.com", ""])
def test_beyond_loopback_a_token_is_required(host: str) -> None:
    with pytest.raises(UnsafeListen, match="token"):
        Listen(host=host)
    assert Listen(host=host, token="open-sesame").host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert Listen(host=host).token is None


def test_an_empty_token_is_refused_and_a_token_is_never_shown() -> None:
    with pytest.raises(UnsafeListen, match="empty"):
        Listen(token=" ")
    assert "sesame" not in repr(Listen(token="open-sesame"))


async def test_with_a_token_everything_but_health_needs_it_on_loopback_too(pipeline: Pipeline) -> None:
    async with opened(pipeline.gateway(), Listen(token="open-sesame")) as client:
        for path in ("/", "/metrics", "/contacts/T-1", "/nowhere"):
            for wrong in ({}, {"Authorization": "Bearer open-sesam"}, {"Authorization": "Basic open-sesame"}):
                async with client.get(path, headers=wrong) as response:
                    assert response.status == 401
                    assert response.headers["WWW-Authenticate"] == "Bearer"
        async with client.post("/v1/events", json=event()) as response:
            assert response.status == 401
        for path in ("/livez", "/readyz"):
            assert (await text(client, path))[0] == 200
        assert (await text(client, "/metrics", Authorization="bearer open-sesame"))[0] == 200
        async with client.post("/v1/events", json=event(), headers={"Authorization": "Bearer open-sesame"}) as response:
            assert response.status == 202
    assert len(pipeline.published) == 1


async def test_a_page_elsewhere_cannot_reach_us_by_a_name_of_its_own(pipeline: Pipeline) -> None:
    async with opened(pipeline.gateway()) as client:
        port = client._base_url.port  # type: ignore[union-attr]
        for host in (
            "evil.example",
            f"evil.example:{port}",
            f"127.0.0.1:{port + 1}",
            "localhost",
            "",
            "127.0.0.1.evil.example",
        ):
            assert (await text(client, "/readyz", Host=host))[0] == 421
        for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
            assert (await text(client, "/readyz", Host=host))[0] == 200


async def test_further_names_may_be_allowed(pipeline: Pipeline) -> None:
    listen = Listen(allowed_hosts=("heardback.example.com", "proxy:8443"))
    async with opened(pipeline.gateway(), listen) as client:
        for host in ("heardback.example.com", "heardback.example.com:443", "proxy:8443"):
            assert (await text(client, "/readyz", Host=host))[0] == 200
        for host in ("proxy", "proxy:8444", "x.heardback.example.com"):
            assert (await text(client, "/readyz", Host=host))[0] == 421


async def test_beyond_loopback_any_name_may_be_ours(pipeline: Pipeline) -> None:
    listen = Listen(host="0.0.0.0", token="open-sesame")
    server = Server(create_http(pipeline.gateway(), listen), stop_seconds=2)
    await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:
        assert (await text(client, "/readyz", Host="heardback.internal:9000"))[0] == 200
    await server.stop()


# -- starting and stopping


async def test_it_listens_on_ipv6_loopback_too(pipeline: Pipeline) -> None:
    async with opened(pipeline.gateway(), Listen(host="::1")) as client:
        assert str(client._base_url).startswith("http://[::1]:")
        assert (await text(client, "/readyz"))[0] == 200


async def test_a_taken_port_is_an_os_error_and_a_stopped_server_can_be_stopped_again(pipeline: Pipeline) -> None:
    first = Server(create_http(pipeline.gateway(), Listen()))
    await first.start()
    second = Server(create_http(pipeline.gateway(), Listen(port=first.port)))
    with pytest.raises(OSError, match="Address already in use"):
        await second.start()
    await second.stop()
    await first.stop()
    await first.stop()


async def test_stopping_lets_a_request_in_hand_end_and_takes_no_further_one(pipeline: Pipeline) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_events: object) -> None:
        begun.set()
        await go_on.wait()

    server = Server(create_http(pipeline.gateway(publish=slowly), Listen()), stop_seconds=5)
    await server.start()
    url = server.url
    async with aiohttp.ClientSession(url) as client:
        sending = asyncio.create_task(client.post("/v1/events", json=event()))
        await begun.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.05)
        with pytest.raises(aiohttp.ClientConnectionError):
            async with aiohttp.ClientSession(url) as other:
                await other.get("/livez")
        go_on.set()
        assert (await sending).status == 202
        await asyncio.wait_for(stopping, 2)


async def test_what_is_not_http_is_answered_and_logged_without_its_words(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(create_http(pipeline.gateway(), Listen()), stop_seconds=1)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nops@example.com secret words\r\n\r\n")
    assert b" 400 " in await asyncio.wait_for(reader.readline(), 2)
    writer.close()
    await server.stop()
    assert "example.com" not in caplog.text
