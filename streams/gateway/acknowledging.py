"""`POST /v1/alerts/{id}/acknowledge` and the webhook by which PagerDuty tells that somebody took an incident.

PagerDuty signs the raw body (https://developer.pagerduty.com/docs/verifying-webhook-signatures): header
`X-PagerDuty-Signature` has `v1=` and the hexadecimal HMAC-SHA256 under the subscription's secret, several where
secrets are being changed. That is looked at before anything of the body. What follows is handed in.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

import orjson
import structlog
from aiohttp import web

from schemas.events import ID_CHARACTERS_MAX
from streams.gateway.intake import RETRY_AFTER_SECONDS
from streams.gateway.service import Acknowledge, NotYetKnown
from streams.transport import TransportError

ALERTS: Final = "/v1/alerts/"
ACKNOWLEDGE: Final = "/acknowledge"
PAGERDUTY: Final = "/v1/webhooks/pagerduty"
BODY_BYTES_MAX: Final = 262_144
SECONDS: Final = 30.0
SIGNATURE: Final = "X-PagerDuty-Signature"
log = structlog.get_logger(__name__)


class AcknowledgeRoutes:
    """The two routes."""

    def __init__(self, acknowledge: Acknowledge) -> None:
        self._acknowledge = acknowledge

    async def alert(self, request: web.Request) -> web.Response:
        """202 once it is written down, 404 for an alert that is not known, 503 where that cannot be said."""
        path = request.rel_url.raw_path
        alert_id = unquote(path.removeprefix(ALERTS).removesuffix(ACKNOWLEDGE), errors="replace")
        if _from_elsewhere(request):
            return _answer(403, "A page of another origin may not take an alert.")
        body = await _body(request)
        if body is None:
            return _answer(413, f"Wanted at most {BODY_BYTES_MAX} bytes.")
        try:
            by = _by(body)
        except ValueError as fault:
            return _answer(400, str(fault))
        return await self._said(self._acknowledge.alert(alert_id, by), {"alert_id": alert_id[:ID_CHARACTERS_MAX]})

    async def pagerduty(self, request: web.Request) -> web.Response:
        """202 for whatever was signed and is ours to know, also where nothing follows from it."""
        secret = self._acknowledge.pagerduty_secret
        if secret is None:
            return _answer(404, "No webhook of PagerDuty is configured here.")
        body = await _body(request)
        if body is None:
            return _answer(413, f"Wanted at most {BODY_BYTES_MAX} bytes.")
        if not signed(body, request.headers.get(SIGNATURE, ""), secret):
            return _answer(401, "The signature is not that of the body.")
        try:
            event = orjson.loads(body)["event"]
            kind, key = event["event_type"], (event.get("data") or {}).get("incident_key")
            by = (event.get("agent") or {}).get("summary")
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return _answer(400, "Wanted an event of a webhook v3.")
        if kind != "incident.acknowledged" or not isinstance(key, str):
            return web.Response(status=202, body=b'{"acknowledged":false}\n', content_type="application/json")
        who = by[:ID_CHARACTERS_MAX] if isinstance(by, str) and by else None
        return await self._said(self._acknowledge.incident(key, who), {"incident_key": key[:ID_CHARACTERS_MAX]},
                                unknown=202)  # fmt: skip

    async def _said(self, asked: Awaitable[bool], what: dict[str, Any], *, unknown: int = 404) -> web.Response:
        try:
            async with asyncio.timeout(SECONDS):
                known = await asked
        except (TransportError, NotYetKnown, TimeoutError) as away:
            log.warning("not_acknowledged", why=type(away).__name__)
            response = _answer(503, "It cannot be acknowledged at the moment. Say it again later.")
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return response
        if not known and unknown == 404:
            return _answer(404, "No such alert is known here.")
        body = orjson.dumps({**what, "acknowledged": known}) + b"\n"
        return web.Response(status=202, body=body, content_type="application/json")


def signed(body: bytes, header: str, secret: bytes) -> bool:
    """Whether one of the signatures in the header is that of the body."""
    wanted = b"v1=" + hmac.new(secret, body, sha256).hexdigest().encode()
    given = [part.strip().encode("utf-8", "surrogateescape") for part in header.split(",")]
    return any(hmac.compare_digest(one, wanted) for one in given)


def _by(body: bytes) -> str | None:
    """Who says so. Raises ValueError."""
    if not body.strip():
        return None
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ValueError("Wanted JSON, or no body at all.") from None
    by = content.get("by") if isinstance(content, dict) else content
    if not isinstance(content, dict) or not (by is None or (isinstance(by, str) and len(by) <= ID_CHARACTERS_MAX)):
        raise ValueError(f'Wanted {{"by": "who has it"}}, at most {ID_CHARACTERS_MAX} characters.')
    return by.strip() or None if by else None


async def _body(request: web.Request) -> bytes | None:
    """The raw body; None where it is too large."""
    if (request.content_length or 0) > BODY_BYTES_MAX:
        return None
    async with asyncio.timeout(SECONDS):
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                return None
    return bytes(body)


def _from_elsewhere(request: web.Request) -> bool:
    """A browser says from where a request comes; others say nothing."""
    origin = request.headers.get("Origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("Host", "")


def _answer(status: int, error: str) -> web.Response:
    return web.Response(status=status, body=orjson.dumps({"error": error}) + b"\n", content_type="application/json")
