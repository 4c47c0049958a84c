"""Taking a page over HTTP: by its id, and by PagerDuty's webhook."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any

import aiohttp
import pytest

from streams.gateway import Acknowledge, Listen, NotYetKnown
from streams.gateway.acknowledging import BODY_BYTES_MAX, signed
from streams.transport import BrokerUnreachable
from tests.streams.gateway.conftest import Pipeline, opened

SECRET = b"the secret of the subscription"
PATH = "/v1/webhooks/pagerduty"
Taken = list[tuple[str, str | None]]


class Pages:
    """Pages that somebody may take, and what was taken."""

    def __init__(self) -> None:
        self.taken: Taken = []
        self.fails: Exception | None = None

    async def __call__(self, name: str, by: str | None) -> bool:
        if self.fails is not None:
            raise self.fails
        self.taken.append((name, by))
        return name in ("a-1", "heardback-1", "zendesk/acme")

    def acknowledge(self, secret: bytes | None = SECRET) -> Acknowledge:
        return Acknowledge(alert=self, incident=self, pagerduty_secret=secret)


def event(kind: str = "incident.acknowledged", key: str | None = "heardback-1", **more: Any) -> bytes:
    """A webhook v3 of PagerDuty, as far as it is read."""
    data = {"id": "PGR0VU2", "type": "incident", "status": "acknowledged", "incident_key": key}
    agent = {"id": "PLH1HKV", "type": "user_reference", "summary": "Ann Example"}
    return json.dumps({"event": {"id": "01", "event_type": kind, "agent": agent, "data": data, **more}}).encode()


def signature(body: bytes, secret: bytes = SECRET) -> str:
    return "v1=" + hmac.new(secret, body, sha256).hexdigest()


async def posted(
    client: aiohttp.ClientSession, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, Any]]:
    async with client.post(path, data=body, headers=headers) as response:
        return response.status, await response.json(content_type=None) if response.status != 401 else {}


async def test_a_page_is_taken_by_its_id(pipeline: Pipeline) -> None:
    pages = Pages()
    async with opened(pipeline.gateway(acknowledge=pages.acknowledge())) as client:
        assert await posted(client, "/v1/alerts/a-1/acknowledge") == (202, {"alert_id": "a-1", "acknowledged": True})
        assert (await posted(client, "/v1/alerts/a-1/acknowledge", b'{"by": " ann "}'))[0] == 202
        assert (await posted(client, "/v1/alerts/zendesk%2Facme/acknowledge", b"{}"))[0] == 202
    assert pages.taken == [("a-1", None), ("a-1", "ann"), ("zendesk/acme", None)]


async def test_a_page_that_there_is_not_is_404(pipeline: Pipeline) -> None:
    async with opened(pipeline.gateway(acknowledge=Pages().acknowledge())) as client:
        assert (await posted(client, "/v1/alerts/a-2/acknowledge"))[0] == 404
        async with client.get("/v1/alerts/a-1/acknowledge") as response:
            assert response.status == 405
    async with opened(pipeline.gateway()) as client, client.post("/v1/alerts/a-1/acknowledge") as response:
        assert response.status == 404


@pytest.mark.parametrize("why", [BrokerUnreachable("away"), NotYetKnown()], ids=["broker away", "still reading"])
async def test_what_cannot_be_written_down_is_said_again_later(pipeline: Pipeline, why: Exception) -> None:
    pages = Pages()
    pages.fails = why
    async with opened(pipeline.gateway(acknowledge=pages.acknowledge())) as client:
        for path, body in (("/v1/alerts/a-1/acknowledge", b""), (PATH, event())):
            async with client.post(path, data=body, headers={"X-PagerDuty-Signature": signature(body)}) as response:
                assert (response.status, int(response.headers["Retry-After"]) > 0) == (503, True)


@pytest.mark.parametrize("body", [b"ann", b"[]", b'{"by": 7}', b'{"by": "' + b"x" * 2_000 + b'"}', b'{"by": "a"'])
async def test_who_it_is_must_be_readable(pipeline: Pipeline, body: bytes) -> None:
    pages = Pages()
    async with opened(pipeline.gateway(acknowledge=pages.acknowledge())) as client:
        assert (await posted(client, "/v1/alerts/a-1/acknowledge", body))[0] == 400
        assert (await posted(client, "/v1/alerts/a-1/acknowledge", b" " * (BODY_BYTES_MAX + 1)))[0] == 413
    assert pages.taken == []


async def test_a_page_of_another_origin_takes_no_alert(pipeline: Pipeline) -> None:
    pages = Pages()
    async with opened(pipeline.gateway(acknowledge=pages.acknowledge())) as client:
        assert (await posted(client, "/v1/alerts/a-1/acknowledge", Origin="https://elsewhere.example"))[0] == 403
        ours = str(client._base_url).rstrip("/")
        assert (await posted(client, "/v1/alerts/a-1/acknowledge", Origin=ours))[0] == 202
    assert len(pages.taken) == 1


async def test_a_token_is_asked_for_a_page_and_a_signature_for_a_webhook(pipeline: Pipeline) -> None:
    pages, body = Pages(), event()
    async with opened(pipeline.gateway(acknowledge=pages.acknowledge()), Listen(token="secret")) as client:
        assert (await posted(client, "/v1/alerts/a-1/acknowledge"))[0] == 401
        assert (await posted(client, PATH, body))[0] == 401
        assert pages.taken == []
        assert (await posted(client, PATH, body, **{"X-PagerDuty-Signature": signature(body)}))[0] == 202
        assert (await posted(client, "/v1/alerts/a-1/acknowledge", Authorization="Bearer secret"))[0] == 202
    assert pages.taken == [("heardback-1", "Ann Example"), ("a-1", None)]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (signature(event()), 202),
        ("v1=" + "0" * 64 + ", " + signature(event()), 202),
        (signature(event(), b"another secret"), 401),
        (signature(b" " + event()), 401),
        (signature(event()).removeprefix("v1="), 401),
        ("", 401),
        ("v1=é", 401),
    ],
)
async def test_a_signature_is_that_of_the_raw_body(pipeline: Pipeline, header: str, status: int) -> None:
    pages = Pages()
    async with opened(pipeline.gateway(acknowledge=pages.acknowledge())) as client:
        assert (await posted(client, PATH, event(), **{"X-PagerDuty-Signature": header}))[0] == status
    assert bool(pages.taken) == (status == 202)


def test_a_signature_is_looked_at_before_the_body_is_read() -> None:
    assert not signed(b"not even JSON", signature(b"{}"), SECRET)


@pytest.mark.parametrize(
    ("body", "status", "taken"),
    [
        (event("incident.triggered"), 202, False),
        (event("pagey.ping", data={"message": "Hello"}), 202, False),
        (event(key=None), 202, False),
        (event(key="opened-by-others"), 202, True),
        (event(agent=None), 202, True),
        (b"{}", 400, False),
        (b'{"event": 7}', 400, False),
        (b"no JSON", 400, False),
    ],
)
async def test_what_is_signed_and_not_for_us_is_taken_note_of(
    pipeline: Pipeline, body: bytes, status: int, *, taken: bool
) -> None:
    pages = Pages()
    async with opened(pipeline.gateway(acknowledge=pages.acknowledge())) as client:
        assert (await posted(client, PATH, body, **{"X-PagerDuty-Signature": signature(body)}))[0] == status
    assert bool(pages.taken) == taken


async def test_without_a_secret_there_is_no_webhook(pipeline: Pipeline) -> None:
    pages = Pages()
    async with opened(pipeline.gateway(acknowledge=pages.acknowledge(None))) as client:
        assert (await posted(client, PATH, event(), **{"X-PagerDuty-Signature": signature(event(), b"")}))[0] == 404
    assert pages.taken == []
