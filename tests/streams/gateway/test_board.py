"""Who is waiting, as pages, as JSON and as changes that are sent; and how a browser logs in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
import orjson
import pytest

from schemas.customers import Customer
from schemas.topics import ALERTS, JOURNEYS, OUTCOMES
from streams.gateway import Listen, Readiness
from streams.gateway.login import COOKIE, SESSION_SECONDS, Login
from streams.gateway.pages import Pages
from streams.gateway.view import PAGE_ROWS
from streams.transport import open_log
from tests.streams.board.records import alert, answered, at, attempt, journey, outcome
from tests.streams.board.test_live import Topics
from tests.streams.board.test_live import opened as log_opened
from tests.streams.gateway.conftest import Pipeline, opened

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
HOSTILE = '<img src=x onerror="alert(1)">\'"&</script>'
TOKEN = "open-sesame"


@pytest.fixture
async def topics(tmp_path: Path) -> AsyncIterator[Topics]:
    async with log_opened(open_log(f"sqlite:///{tmp_path}/log.sqlite3")) as found:
        yield found


@asynccontextmanager
async def door(
    topics: Topics, pipeline: Pipeline, listen: Listen | None = None, **changed: Any
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a door before a board that has caught up."""
    topics.board.start()
    await asyncio.wait_for(topics.board.wait_caught_up(), 30)
    gateway = pipeline.gateway(board=topics.board, now=lambda: topics.now, **changed)
    async with opened(gateway, listen) as client:
        yield client


async def page(client: aiohttp.ClientSession, path: str, status: int = 200) -> str:
    async with client.get(path, headers=HTML) as response:
        assert response.status == status, await response.text()
        return await response.text()


async def json(client: aiohttp.ClientSession, path: str, status: int = 200) -> Any:
    async with client.get(path, headers={"Accept": "application/json"}) as response:
        assert response.status == status
        return await response.json()


def shown(text: str) -> list[str]:
    """The customers on a page, in order."""
    return re.findall(r'data-customer="([^"]*)"', text)


async def test_a_row_says_who_waits_how_long_where_they_tried_and_what_became_of_the_page(
    topics: Topics, pipeline: Pipeline
) -> None:
    topics.customers.put(
        Customer(
            customer_id="c-1", name="Alba Freight", tier="gold", owner="anna@example.com", annual_value=48_000,
            currency="GBP",
        ),
        0,
    )  # fmt: skip
    await topics.write(JOURNEYS, journey("c-1", attempt("mail:1", "email", 0, "bounced"), attempt("T-1", "ticket", 0)))
    await topics.write(OUTCOMES, outcome("T-1", "c-1", queue="billing"))
    await topics.write(ALERTS, alert("escalation", severity="critical"))
    async with door(topics, pipeline) as client:
        text = await page(client, "/")
        [row] = (await json(client, "/"))["rows"]
    for words in ("Alba Freight", "gold", "GBP 48,000", "@example.com", "email", "bounced", "ticket", "billing"):
        assert words in text
    for words in ("1 h 10 min over", "dead end, found", "Escalated", "1 h 10 min", "Mon 16 Nov 09:00"):
        assert words in text
    assert 'href="/customers/c-1"' in text
    assert 'href="/contacts/mail%3A1"' in text
    assert (row["customer_id"], row["past_seconds"], row["wait_seconds"]) == ("c-1", 4_200.0, 4_200.0)
    assert row["channels"] == [
        {"channel": "email", "dead_end": "bounced"},
        {"channel": "ticket", "dead_end": None},
    ]
    assert row["paging"] == {"state": "escalated", "words": "still nobody has helped", "since": at(1)}


async def test_what_customers_write_is_shown_and_never_run(topics: Topics, pipeline: Pipeline) -> None:
    topics.customers.put(
        Customer(customer_id=HOSTILE, name=HOSTILE, tier=HOSTILE, owner=HOSTILE, currency="GBP", annual_value=1), 0
    )
    await topics.write(OUTCOMES, outcome(HOSTILE, HOSTILE, queue=HOSTILE, tier=HOSTILE, policy=HOSTILE))
    await topics.write(JOURNEYS, journey(HOSTILE, attempt(HOSTILE, "ticket", 0)))
    await topics.write(ALERTS, alert("chasing", HOSTILE, HOSTILE, summary=HOSTILE))
    await topics.write(ALERTS, alert("blind", HOSTILE, "heardback", alert_id="b", summary=HOSTILE))
    async with door(topics, pipeline) as client:
        texts = [await page(client, "/"), await page(client, f"/?tier={HOSTILE}".replace("&", "%26"))]
        [path] = re.findall(r'href="(/customers/[^"]*)"', texts[0])
        texts.append(await page(client, path))
    for text in texts:
        assert "<img src=x" not in text
        assert "&lt;img src=x" in text
        assert "<script>" not in text
        assert len(re.findall("<script", text)) == text.count('<script src="/static/')


async def test_filters_are_in_the_address_and_stay_in_the_form_the_pages_and_the_changes(
    topics: Topics, pipeline: Pipeline
) -> None:
    await topics.write(OUTCOMES, *(outcome(f"T-{n}", f"c-{n}", queue="billing") for n in range(PAGE_ROWS + 5)))
    await topics.write(OUTCOMES, outcome("S-1", "s-1", queue="sales", tier="silver", channel="chat"))
    async with door(topics, pipeline) as client:
        assert shown(await page(client, "/?queue=sales")) == ["s-1"]
        assert shown(await page(client, "/?tier=silver&channel=chat")) == ["s-1"]
        assert shown(await page(client, "/?tier=silver&channel=ticket")) == []
        first, second = await page(client, "/?queue=billing"), await page(client, "/?queue=billing&page=2")
        beyond = await page(client, "/?queue=billing&page=99")
        nonsense = await page(client, "/?page=-1&page=x&tier=")
        assert (await json(client, "/?queue=sales"))["counts"]["waiting"] == 1
    assert (len(shown(first)), len(shown(second))) == (PAGE_ROWS, 5)
    assert shown(beyond) == shown(second)
    assert len(shown(nonsense)) == PAGE_ROWS
    assert '<option value="billing" selected>' in first
    assert 'href="/?queue=billing&amp;page=2"' in first
    assert 'data-changes="/board/changes?queue=billing&amp;page=2"' in second
    assert "s-1" not in [*shown(first), *shown(second)]


async def test_while_it_catches_up_nobody_is_shown_and_it_says_so(topics: Topics, pipeline: Pipeline) -> None:
    topics.board.waiting.on_outcome(0, outcome())  # answered long ago, which has not been read yet
    pipeline.readiness = Readiness(reasons=("heardback-streams: recovering tables",))
    async with opened(pipeline.gateway(board=topics.board)) as client:
        text = await page(client, "/")
        assert (await json(client, "/", 503))["error"] == "catching up"
        await page(client, "/customers/c-1", 503)
    assert "Catching up" in text
    assert "recovering tables" in text
    assert shown(text) == []
    assert "Nobody is waiting" not in text, "nobody can know"


async def test_when_nobody_waits_it_says_so(topics: Topics, pipeline: Pipeline) -> None:
    async with door(topics, pipeline) as client:
        assert "Nobody is waiting. Everybody heard back." in await page(client, "/")
        assert "Nobody like this is waiting." in await page(client, "/?tier=gold")


# -- a customer


async def test_a_customers_page_tells_the_journey_over_all_channels_in_order(
    topics: Topics, pipeline: Pipeline
) -> None:
    await topics.write(
        JOURNEYS,
        journey(
            "c-1",
            attempt("mail:1", "email", -96, "bounced"),
            attempt("form:1", "form", -95, "no_ticket"),
            attempt("T-1", "ticket", 0),
        ),
    )
    await topics.write(OUTCOMES, outcome("T-1", "c-1"))
    await topics.write(ALERTS, alert("at_risk", severity="warning", at=at(0.5), starts_at=at(0.5)))
    await topics.write(ALERTS, alert("breach", starts_at=at(0.5), at=at(1)))
    async with door(topics, pipeline) as client:
        text = await page(client, "/customers/c-1")
        told = await json(client, "/customers/c-1")
    assert [(step["kind"], step["words"]) for step in told["timeline"]] == [
        ("attempt", "first try: the mail bounced at our side, nobody will answer it"),
        ("attempt", "try 2"),
        ("dead_end", "found to be a dead end: the form became no ticket"),
        ("attempt", "try 3"),
        ("warning", "warned: at risk, first response"),
        ("due", "first response was due"),
        ("alert", "paged: breach, first response"),
        ("now", "now: still waiting"),
    ]
    assert re.findall(r'<span class="label">(\w+)</span>', text) == ["email", "form", "ticket"]
    assert 'aria-label="3 attempts over email, form, ticket; no answer yet.' in text
    assert told["clocks"][0]["past_seconds"] == 600.0


async def test_a_customer_who_was_answered_lately_is_told_so(topics: Topics, pipeline: Pipeline) -> None:
    asked = outcome("T-1", "c-1")
    tried = journey("c-1", attempt("T-1", "ticket", 0))
    await topics.write(OUTCOMES, asked, answered(asked))
    await topics.write(
        JOURNEYS, tried, tried | {"revision": 2, "state": "answered", "ended_at": at(0.5), "answered_by": "bo"}
    )
    async with door(topics, pipeline) as client:
        text = await page(client, "/customers/c-1")
        told = await json(client, "/customers/c-1")
    assert "Nobody of theirs is waiting: answered" in text
    assert [step["kind"] for step in told["timeline"]] == ["attempt", "answered", "ended"]
    assert told["row"] is None


async def test_an_unknown_customer_is_404_in_words(topics: Topics, pipeline: Pipeline) -> None:
    async with door(topics, pipeline) as client:
        assert "No customer &lt;b&gt; is known here." in await page(client, "/customers/%3Cb%3E", 404)
        assert await json(client, "/customers/c-9", 404) == {"error": "No customer c-9 is known here."}


# -- what is sent


class Listening:
    """What the server sends, event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def event(self, kind: str = "board") -> dict[str, Any]:
        """The next event of that kind, with its id."""
        async with asyncio.timeout(30):
            while True:
                lines = (await self._block()).splitlines()
                found = dict(line.split(": ", 1) for line in lines if ": " in line)
                if found.get("event") == kind:
                    data = orjson.loads(found["data"])
                    return {**data, "id": found["id"]} if kind == "board" else {"now": data}

    async def _block(self) -> str:
        block = b""
        while not block.endswith(b"\n\n"):
            line = await self._response.content.readline()
            assert line, "the server ended it"
            block += line
        return block.decode()


@asynccontextmanager
async def listening(client: aiohttp.ClientSession, query: str = "", **headers: str) -> AsyncIterator[Listening]:
    async with client.get(f"/board/changes{query}", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        yield Listening(response)


async def test_a_browser_is_sent_everything_first_and_then_only_what_changed(
    topics: Topics, pipeline: Pipeline
) -> None:
    first, second = outcome("T-1", "c-1"), outcome("T-2", "c-2", due_at=at(2))
    await topics.write(OUTCOMES, first, second)
    async with door(topics, pipeline) as client, listening(client) as sent:
        whole = await sent.event()
        assert (whole["order"], sorted(whole["rows"])) == (["c-1", "c-2"], ["c-1", "c-2"])
        assert whole["parts"]["said"] == "2 customers wait, 1 over their promise, the longest by 10 min of open time."
        topics.seconds += 1
        await topics.write(OUTCOMES, outcome("T-3", "c-3", due_at=at(0.5)))
        change = await sent.event()
        assert (change["order"], sorted(change["rows"])) == (["c-3", "c-1", "c-2"], ["c-3"])
        assert "c-3" in change["rows"]["c-3"]
        topics.seconds += 1
        await topics.write(OUTCOMES, answered(first))
        change = await sent.event()
        assert (change["order"], change["rows"]) == (["c-3", "c-2"], {})


async def test_a_browser_that_comes_back_with_what_it_has_is_sent_nothing_again(
    topics: Topics, pipeline: Pipeline
) -> None:
    await topics.write(OUTCOMES, outcome("T-1", "c-1"))
    async with door(topics, pipeline) as client:
        [version] = re.findall(r'data-version="(\w+)"', await page(client, "/"))
        async with listening(client, f"?version={version}") as sent:
            assert "now" in await sent.event("now")
        async with listening(client, **{"Last-Event-ID": version}) as sent:
            assert "now" in await sent.event("now")
        async with listening(client, **{"Last-Event-ID": "older"}) as sent:
            assert (await sent.event())["id"] == version


async def test_changes_are_those_of_the_filter_that_was_asked_for(topics: Topics, pipeline: Pipeline) -> None:
    await topics.write(OUTCOMES, outcome("T-1", "c-1"), outcome("T-2", "c-2", tier="silver"))
    async with door(topics, pipeline) as client, listening(client, "?tier=silver") as sent:
        assert (await sent.event())["order"] == ["c-2"]


async def test_time_alone_changes_what_is_shown(topics: Topics, pipeline: Pipeline) -> None:
    await topics.write(OUTCOMES, outcome("T-1", "c-1"))
    async with door(topics, pipeline, quiet_seconds=1.0) as client, listening(client) as sent:
        assert "10 min over" in (await sent.event())["rows"]["c-1"]
        topics.now += timedelta(minutes=30)
        topics.seconds += 1
        assert "40 min over" in (await sent.event())["rows"]["c-1"]


async def test_a_connection_ends_with_its_time_so_that_a_session_that_is_over_is_seen(
    topics: Topics, pipeline: Pipeline
) -> None:
    async with door(topics, pipeline, watch_seconds=1.0) as client, client.get("/board/changes") as response:
        told = await asyncio.wait_for(response.content.read(), 30)
    assert told.count(b"event: board") == 1


async def test_a_server_that_stops_does_not_wait_for_those_who_watch(topics: Topics, pipeline: Pipeline) -> None:
    loop = asyncio.get_running_loop()
    async with door(topics, pipeline) as client:
        response = await client.get("/board/changes")
        await response.content.readline()
        began = loop.time()
    assert loop.time() - began < 1.9, "two seconds are what it gives to requests in hand"


# -- logging in


async def test_without_the_token_a_browser_sees_a_form_and_with_it_the_page_it_wanted(
    topics: Topics, pipeline: Pipeline
) -> None:
    await topics.write(OUTCOMES, outcome("T-1", "c-1"))
    async with door(topics, pipeline, Listen(token=TOKEN)) as client:
        async with client.get("/customers/c-1?x=1", headers=HTML) as response:
            text = await response.text()
            assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "c-1</h1>" not in text
        assert 'name="to" value="/customers/c-1?x=1"' in text
        assert (await json(client, "/", 401))["error"].startswith("A token is needed")
        async with client.post("/login", data={"token": "wrong", "to": "/"}, allow_redirects=False) as response:
            assert (response.status, "Set-Cookie" in response.headers) == (401, False)
            assert "That is not the token." in await response.text()
        to = {"token": f" {TOKEN}\n", "to": "/customers/c-1?x=1"}
        async with client.post("/login", data=to, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/customers/c-1?x=1")
            cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        given = {**HTML, "Cookie": cookie.partition(";")[0]}
        async with client.get("/customers/c-1", headers=given) as response:
            assert (response.status, "c-1</h1>" in await response.text()) == (200, True)
        async with client.post("/v1/events", json={}, headers=given) as response:
            assert response.status == 401, "a session only looks"
        async with client.post("/logout", headers=given, allow_redirects=False) as response:
            assert f'{COOKIE}=""' in response.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "evil", "", "/\r\nx: y"],
)
async def test_logging_in_never_leads_elsewhere(topics: Topics, pipeline: Pipeline, elsewhere: str) -> None:
    given = {"token": TOKEN, "to": elsewhere}
    async with (
        door(topics, pipeline, Listen(token=TOKEN)) as client,
        client.post("/login", data=given, allow_redirects=False) as response,
    ):
        assert (response.status, response.headers["Location"]) == (303, "/")


async def test_a_session_ends_with_its_time_with_the_token_and_when_it_is_forged() -> None:
    from aiohttp.test_utils import make_mocked_request

    seconds = [1_000_000.0]
    pages = Pages()
    login = Login(Listen(token=TOKEN), pages, lambda: seconds[0])
    until = str(1_000_000 + SESSION_SECONDS)

    def opens(cookie: str, of: Login = login, method: str = "GET") -> bool:
        return of.opens(make_mocked_request(method, "/", headers={"Cookie": f"{COOKIE}={cookie}"}))

    good = f"{until}.{login._signature(until)}"
    assert opens(good)
    assert opens(good, method="HEAD")
    assert not opens(good, method="POST")
    assert not opens(good, Login(Listen(token="another"), pages, lambda: seconds[0]))
    assert not opens(good, Login(Listen(), pages, lambda: seconds[0]))
    later = str(int(until) + 1)
    for forged in (
        "",
        ".",
        until,
        f"{until}.",
        f"{later}.{good.partition('.')[2]}",
        f"-1.{good}",
        f"٣.{good}",
        good + "x",
    ):
        assert not opens(forged)
    seconds[0] += SESSION_SECONDS + 1
    assert not opens(good)


async def test_silencing_is_alertmanagers_and_the_pages_lead_there(topics: Topics, pipeline: Pipeline) -> None:
    await topics.write(OUTCOMES, outcome("T-1", 'c"1'))
    await topics.write(ALERTS, alert("breach", "T-1", 'c"1'))
    async with door(topics, pipeline, silences_url="http://alertmanager.example:9093") as client:
        text = await page(client, "/customers/c%221")
    assert 'href="http://alertmanager.example:9093/#/silences"' in text
    [path] = re.findall(r'href="http://alertmanager.example:9093/#/silences/new\?filter=([^"]*)"', text)
    assert unquote(path) == '{customer_id="c\\"1"}'
