"""`POST /v1/events`: a body off the wire, within bounds of size and time; published whole or not at all.

What an event must be is decided in `events`. Sending the same again is harmless: whoever is unsure whether
we have it sends it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import orjson
import structlog
from aiohttp import web

from streams.gateway.events import Reading, Rules, attributes_of, read
from streams.gateway.service import Gateway
from streams.transport import Headers, RecordTooLarge, TransportError

MEDIA_TYPES: Final = ("application/json", "application/cloudevents+json", "application/cloudevents-batch+json")
RETRY_AFTER_SECONDS: Final = 5
log = structlog.get_logger(__name__)


class _Answered(Exception):  # noqa: N818 - an answer found early, nothing is wrong with us
    """The request is answered before its body was read."""

    def __init__(self, response: web.Response) -> None:
        self.response = response


class Intake:
    """Takes events. Bodies of all requests together are held in bounded memory."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._in_hand_bytes = 0

    async def take(self, request: web.Request) -> web.StreamResponse:
        """202 with the ids once the broker has them; 4xx with every fault; 503 when the broker is away."""
        body = bytearray()
        try:
            attributes = attributes_of(request.headers.items())
            _refuse_other_media(request, attributes)
            await self._fill(body, request)
            reading = await read(bytes(body), attributes, self._rules())
            return self._refused(reading) if reading.faults else await self._published(reading)
        except _Answered as answered:
            answered.response.force_close()  # what is still on its way is not read
            return answered.response
        finally:
            self._in_hand_bytes -= len(body)

    async def _fill(self, body: bytearray, request: web.Request) -> None:
        limit = self._gateway.body_bytes_max
        too_large = f"The body is larger than {limit} bytes: send fewer events at a time."
        if (request.content_length or 0) > limit:
            raise _Answered(_answer(413, too_large))
        try:
            async with asyncio.timeout(self._gateway.body_seconds):
                while chunk := await request.content.readany():
                    self._in_hand_bytes += len(chunk)
                    body += chunk
                    if len(body) > limit:
                        raise _Answered(_answer(413, too_large))
                    if self._in_hand_bytes > self._gateway.in_hand_bytes_max:
                        raise _Answered(_later("Too much is being sent at once."))
        except TimeoutError:
            raise _Answered(_answer(408, "The body did not arrive in time.")) from None
        except (aiohttp.ClientError, web.RequestPayloadError, aiohttp.http_exceptions.HttpProcessingError):
            raise _Answered(_answer(400, "The body is not what its headers say.")) from None

    def _rules(self) -> Rules:
        gateway = self._gateway
        return Rules(
            customer_of=gateway.customer_of, now=gateway.now(), ahead=gateway.ahead, late_after=gateway.late_after
        )

    async def _published(self, reading: Reading) -> web.Response:
        try:
            async with asyncio.timeout(self._gateway.publish_seconds):
                if reading.accepted:
                    await self._gateway.publish(reading.accepted)
        except RecordTooLarge:
            return _answer(413, "An event is too large for the broker.")
        except (TransportError, TimeoutError) as away:
            log.warning("events_not_published", events=len(reading.accepted), why=type(away).__name__)
            return _later("The broker is away.")
        return _json(202, {"ids": [publish.event_id for publish in reading.accepted]})

    def _refused(self, reading: Reading) -> web.Response:
        for fault in reading.faults:
            self._gateway.refused(fault.refusal.reason)
        whole = any(fault.index is None for fault in reading.faults)
        faults = [
            {
                "index": fault.index,
                "reason": fault.refusal.reason,
                "detail": fault.refusal.detail,
                "field": fault.refusal.field,
            }
            for fault in reading.faults
        ]
        more = "" if reading.complete else ", and perhaps more: reading stopped there"
        error = f"Nothing was taken: {len(faults)} fault{'s' if len(faults) > 1 else ''}{more}."
        return _json(400 if whole else 422, {"error": error, "faults": faults})


def _refuse_other_media(request: web.Request, attributes: Headers) -> None:
    media_type = request.content_type if "Content-Type" in request.headers else "none"
    wanted = MEDIA_TYPES[:1] if attributes else MEDIA_TYPES
    charset = (request.charset or "utf-8").lower()
    if media_type not in wanted or charset not in ("utf-8", "us-ascii"):
        response = _answer(415, f"Wanted content type {' or '.join(wanted)}, in UTF-8.")
        response.headers["Accept-Post"] = ", ".join(MEDIA_TYPES)
        raise _Answered(response)


def _later(why: str) -> web.Response:
    response = _answer(503, f"{why} Send the same again later; what is sent twice counts once.")
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _answer(status: int, error: str) -> web.Response:
    return _json(status, {"error": error})


def _json(status: int, content: Mapping[str, Any]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(content) + b"\n", content_type="application/json")
