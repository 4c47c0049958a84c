"""The runbooks where heardback's alerts link to: each by the kind that the alert says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import get_args
from urllib.parse import urlsplit

import aiohttp
import pytest

from schemas.alerts import Kind
from schemas.configuration import DEFAULT_URL, AlertsSpec
from streams.commands.serving import run
from streams.gateway import Listen, Server, create_http
from tests.streams.gateway.conftest import Pipeline


@pytest.fixture
async def door() -> AsyncIterator[str]:
    server = Server(create_http(Pipeline().gateway(), Listen()))
    await server.start()
    yield f"http://127.0.0.1:{server.port}"
    await server.stop()


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("kind", get_args(Kind))
async def test_an_alert_s_runbook_is_a_page_at_the_address_that_it_carries(door: str, kind: str) -> None:
    path = urlsplit(f"{AlertsSpec().runbooks}/{kind}").path
    status, page = await get(door + path)
    assert status == 200
    assert f"<h1>{kind}</h1>" in page
    assert "<h2>Do first</h2>" in page


async def test_the_index_and_links_between_runbooks_work(door: str) -> None:
    status, index = await get(f"{door}/runbooks/")
    assert status == 200
    assert 'href="breach.md"' in index
    assert (await get(f"{door}/runbooks/breach.md"))[0] == 200
    assert (await get(f"{door}/runbooks/HeardbackDown"))[0] == 200


@pytest.mark.parametrize("name", ["nothing", "..%2F..%2FREADME", "breach.md.md", ".md", "%3Cscript%3E"])
async def test_what_is_no_runbook_is_not_found_and_leads_to_the_index(door: str, name: str) -> None:
    status, page = await get(f"{door}/runbooks/{name}")
    assert status == 404
    assert "/runbooks/" in page
    assert "script>" not in page


def test_runbooks_are_with_the_board_unless_said_otherwise() -> None:
    of_board = AlertsSpec.model_validate({"board_url": "https://board.example/"})
    elsewhere = AlertsSpec.model_validate(
        {"board_url": "https://board.example", "runbook_url": "https://books.example"}
    )
    assert AlertsSpec().runbooks == f"{DEFAULT_URL}/runbooks"
    assert of_board.runbooks == "https://board.example/runbooks"
    assert elsewhere.runbooks == "https://books.example"


def test_the_address_by_default_is_where_run_listens_by_default() -> None:
    assert run.__defaults__ is not None
    assert urlsplit(DEFAULT_URL).port in run.__defaults__
