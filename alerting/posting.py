"""One POST to somebody outside, and what became of it. What is sent and when does not belong here.

Nothing is followed, nothing waits for ever, and neither address nor body ends up in a log: an address may
carry a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal

import aiohttp

from alerting.outbound import PublicOnly

CONNECT_SECONDS: Final = 5.0
RETRY_AFTER_SECONDS_MAX: Final = 3600.0
Result = Literal["delivered", "not_taken", "unknown", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a receiver said to one notice. `not_taken`: it certainly does not have it, try again; `unknown`:
    it may have it, try again; `rejected`: it never will. `away`: it is the receiver, not the notice."""

    result: Result
    detail: str = ""
    away: bool = False
    retry_after_seconds: float | None = None


DELIVERED: Final = Answer(result="delivered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rim:
    """What a receiver needs of the world: a session (by whether private addresses are allowed; asked for once
    the loop runs), and the wall clock, which is the receivers' even where heardback's own runs at another
    speed. `resend_seconds` is how often what fires is said again, `outbound_hosts` where receivers may be."""

    session: Callable[[bool | None], aiohttp.ClientSession]
    wall: Callable[[], datetime]
    resend_seconds: float = 60.0
    outbound_hosts: Sequence[str] | None = None


class Sessions:
    """The sessions of one process, made when first asked for, one for each reach. No cookies, no proxy from the
    environment."""

    def __init__(self) -> None:
        self._open: dict[bool | None, aiohttp.ClientSession] = {}

    def __call__(self, allow_private: bool | None) -> aiohttp.ClientSession:
        if allow_private not in self._open:
            resolver = None if allow_private else PublicOnly(allow_private)
            connector = aiohttp.TCPConnector(limit=0, limit_per_host=32, resolver=resolver)
            self._open[allow_private] = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._open[allow_private]

    async def close(self) -> None:
        """Closes every connection."""
        for session in self._open.values():
            await session.close()
        self._open.clear()


def wall() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float
) -> Answer:
    """Posts once. A redirect is an answer like any other, and a wrong one."""
    limits = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=min(CONNECT_SECONDS, timeout_seconds))
    try:
        async with session.post(url, data=body, headers=headers, timeout=limits, allow_redirects=False) as response:
            return understood(response.status, response.headers.get("Retry-After"))
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        return Answer(result="not_taken", detail="not reachable", away=True)
    except (TimeoutError, asyncio.IncompleteReadError):
        return Answer(result="unknown", detail="no answer in time", away=True)
    except (aiohttp.ClientError, OSError) as error:
        return Answer(result="unknown", detail=type(error).__name__, away=True)


def understood(status: int, retry_after: str | None = None) -> Answer:
    """What a status means: who refuses for good is not asked again, a gateway may have passed it on."""
    detail = f"answered {status}"
    if 200 <= status < 300:
        return DELIVERED
    if status in (408, 425, 429) or status >= 500:
        result: Result = "unknown" if status in (408, 502, 504) else "not_taken"
        away = status in (429, 502, 503, 504)
        return Answer(result=result, detail=detail, away=away, retry_after_seconds=seconds_to_wait(retry_after))
    return Answer(result="rejected", detail=detail)


def seconds_to_wait(retry_after: str | None) -> float | None:
    """`Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), at most an hour; None if unreadable."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after) - wall()).total_seconds()
        except (ValueError, TypeError):
            return None
    if seconds != seconds:  # not a number
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)
