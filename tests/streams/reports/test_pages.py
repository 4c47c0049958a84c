"""The page of a week over HTTP, and in a real Chromium: what is answered, what is allowed, how it looks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streams.facts import load
from streams.gateway import Document, Gateway, Listen, Liveness, Readiness, ReportsAway, Server, create_http
from streams.reports import CONTENT_TYPES, Week, WeekReport, page, render, weekly
from tests.servers.chromium import DESK, PHONE, chromium
from tests.streams.reports.replays import demo, folder
from tests.streams.reports.test_render import HOSTILE, hostile

__all__ = ["hostile"]


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> WeekReport:
    result, promised = demo()
    facts = load(folder(result, promised, tmp_path_factory.mktemp("demo")))
    return weekly(facts, Week.parse("2026-W46", time_zone="Europe/London"))


@asynccontextmanager
async def served(known: WeekReport | None, **more: Any) -> AsyncIterator[str]:
    """The address of a door that knows one week."""

    async def document(week: str, to: str) -> Document | None:
        if week == "away":
            raise ReportsAway
        if to not in CONTENT_TYPES:
            raise ValueError(f"found format {to!r}")
        Week.parse(week)
        if known is None or week != known.week:
            return None
        if to == "html":
            shown = page(known, [known.week, "2026-W45"])
            return Document(body=shown.text.encode(), content_type="text/html", style=shown.style)
        return Document(body=render(known, to), content_type=CONTENT_TYPES[to])

    async def nothing(*_: Any) -> None:
        return None

    gateway = Gateway(
        publish=nothing, customer_of=lambda _: None, ready=Readiness, explain=nothing,
        alive=lambda: Liveness(stalled_seconds=0, limit_seconds=1), metrics=lambda: (b"", "text/plain"),
        **({"report": document} | more),
    )  # fmt: skip
    server = Server(create_http(gateway, Listen(port=0)))
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


async def test_each_format_is_answered_as_what_it_is(ordinary: WeekReport) -> None:
    async with served(ordinary) as url, aiohttp.ClientSession(url) as http:
        for to, content_type in CONTENT_TYPES.items():
            async with http.get("/reports/2026-W46", params={"format": to}) as answer:
                assert (answer.status, answer.content_type, answer.charset) == (200, content_type, "utf-8")
                if to != "html":
                    assert await answer.read() == render(ordinary, to)
        async with http.get("/reports/2026-W46", headers={"Accept": "application/json"}) as answer:
            assert answer.content_type == "application/json"
        async with http.get("/reports/2026-W46") as answer:
            assert answer.content_type == "text/html"
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; style-src 'sha256-")
            assert "unsafe" not in policy
            assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/reports/2026-W45", 404, "There are no facts of week 2026-W45."),
        ("/reports/2026-W99", 400, "Found week '2026-W99', wanted one such as 2026-W46."),
        ("/reports/%3Cb%3E", 400, "Found week '<b>', wanted one such as 2026-W46."),
        ("/reports/2026-W46?format=%3Cb%3E", 400, "Found format '<b>'."),
        ("/reports/away", 503, "The facts cannot be read at the moment."),
    ],
)
async def test_what_cannot_be_answered_says_why(ordinary: WeekReport, path: str, status: int, said: str) -> None:
    async with served(ordinary) as url, aiohttp.ClientSession() as http:
        async with http.get(url + path) as answer:
            text = await answer.text()
            assert (answer.status, answer.content_type) == (status, "text/html")
            assert "<b>" not in text
            assert ("Retry-After" in answer.headers) == (status == 503)
        if "format" in path:
            return  # what is asked for goes before what is accepted
        async with http.get(url + path, headers={"Accept": "application/json"}) as answer:
            assert (answer.status, json.loads(await answer.text())["error"]) == (status, said)


async def test_a_door_without_facts_says_that_it_has_no_reports() -> None:
    async with (
        served(None, report=None) as url,
        aiohttp.ClientSession(url) as http,
        http.get("/reports/2026-W46") as answer,
    ):
        assert answer.status == 404
        assert "No facts are kept here" in await answer.text()


@pytest.mark.slow
@pytest.mark.chromium
@pytest.mark.parametrize("size", [DESK, PHONE])
async def test_the_page_of_a_week_shows_itself_without_complaint_on_any_screen(
    ordinary: WeekReport, size: tuple[int, int]
) -> None:
    async with served(ordinary) as url, chromium(size=size) as tab:
        await tab.page.goto(f"{url}/reports/2026-W46")
        text = await tab.reads()
        assert ordinary.headline in text
        for said in ("5 d 13 h 58 min", "bounced at our side", "Still waiting as the week ends", "birch-books"):
            assert said in text
        assert await tab.page.locator("h1").count() == 1
        assert await tab.too_wide() == 0
        background = await tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(255, 255, 255)", "its style is allowed"
        assert (tab.complaints, await tab.violations()) == ([], [])


@pytest.mark.slow
@pytest.mark.chromium
async def test_a_page_full_of_hostile_names_does_nothing_and_breaks_nothing(hostile: WeekReport) -> None:
    async with served(hostile) as url, chromium(size=PHONE, dark=True) as tab:
        dialogs: list[str] = []
        tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        await tab.page.goto(f"{url}/reports/2026-W46")
        text = " ".join((await tab.reads()).split())
        for name in HOSTILE:
            assert " ".join(name.split()) in text
        assert await tab.too_wide() == 0
        assert await tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"
        assert (dialogs, tab.complaints, await tab.violations()) == ([], [], [])


@pytest.mark.slow
@pytest.mark.chromium
async def test_a_mailed_page_looks_the_same_from_a_file(ordinary: WeekReport, tmp_path: Path) -> None:
    path = tmp_path / "week.html"
    path.write_bytes(render(ordinary, "html"))
    async with chromium() as tab:
        await tab.page.goto(path.as_uri())
        assert ordinary.headline in await tab.reads()
        width = await tab.page.evaluate("document.querySelector('main').getBoundingClientRect().width")
        assert width == 800
        assert await tab.too_wide() == 0
        assert tab.complaints == []
