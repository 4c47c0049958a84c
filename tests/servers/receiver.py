"""A real HTTP server that records what it is sent and behaves as badly as a test wants.

It stands for any receiver of heardback's alerts: a webhook, a pager, an Alertmanager that fails. It runs in a thread of
its own, so that tests with and without an event loop can use it. What a request means does not belong here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from tests.servers.process import free_ports, wait_until

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER for no time: closing sends RST


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answers at once. An answer of 400 or more is a refusal; `retry_after` goes into that header."""

    status: int = 200
    body: bytes = b""
    retry_after: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Takes the request and says nothing until told to behave otherwise, or for `seconds`; then it answers 200."""

    seconds: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Takes the request and resets the connection: the sender cannot know whether it arrived."""


Behaviour = Answer | Stall | Reset


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it arrived. `status` is what it will be answered: None for a reset connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    arrived: datetime
    status: int | None

    def json(self) -> Any:
        """The body, decoded. Raises `orjson.JSONDecodeError`."""
        return orjson.loads(self.body)

    @property
    def accepted(self) -> bool:
        """Whether its sender is told that it was taken."""
        return self.status is not None and self.status < 300


class Receiver:
    """The server, as a context manager; `url` is its address, the same after `stop` and `start`."""

    def __init__(self) -> None:
        [self._port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self._port}"
        self._usual: Behaviour = Answer()
        self._next: deque[Behaviour] = deque()
        self._requests: list[Request] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True)
        self._changed = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Listens, again on the same port."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """Is away: connections are closed, new ones refused. What it recorded stays."""
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(10)

    def always(self, behaviour: Behaviour) -> None:
        """How to treat requests from now on; ends stalls."""
        self._usual = behaviour
        self._loop.call_soon_threadsafe(self._changed.set)

    def next(self, *behaviours: Behaviour) -> None:
        """How to treat the next requests, one each, before it is as always again."""
        self._next.extend(behaviours)

    @property
    def requests(self) -> list[Request]:
        """All that arrived, in order, also what was refused."""
        return list(self._requests)

    @property
    def accepted(self) -> list[Request]:
        """What was answered with success, in order."""
        return [request for request in self._requests if request.accepted]

    def forget(self) -> None:
        """Empties the record."""
        self._requests.clear()

    def wait(self, until: Callable[[list[Request]], object], *, seconds: float = 60) -> list[Request]:
        """Blocks until `until(requests)` is true and returns all requests; raises `ServerError` after `seconds`."""
        wait_until(lambda: bool(until(self.requests)), seconds=seconds, what=f"requests at {self.url} as expected")
        return self.requests

    async def arrived(self, until: Callable[[list[Request]], object], *, seconds: float = 60) -> list[Request]:
        """`wait` for a test whose sender runs in the same event loop."""
        return await asyncio.to_thread(self.wait, until, seconds=seconds)

    async def _listen(self) -> None:
        # A stalled request must not hold up leaving.
        self._runner = web.ServerRunner(web.Server(self._receive), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()

    async def _leave(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _receive(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived = datetime.now(UTC)
        body = await request.content.read()
        behaviour = self._next.popleft() if self._next else self._usual
        status = {Answer: getattr(behaviour, "status", None), Stall: 200, Reset: None}[type(behaviour)]
        self._requests.append(
            Request(
                method=request.method,
                path=request.path_qs,
                headers=request.headers.copy(),
                body=body,
                arrived=arrived,
                status=status,
            )
        )
        return await self._behave(behaviour, request)

    async def _behave(self, behaviour: Behaviour, request: web.BaseRequest) -> web.StreamResponse:
        match behaviour:
            case Answer(status=status, body=body, retry_after=retry_after):
                return web.Response(
                    status=status, body=body, headers={"Retry-After": retry_after} if retry_after else {}
                )
            case Stall(seconds=seconds):
                await self._until_changed(seconds)
            case Reset() if request.transport is not None:
                connection = request.transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                request.transport.abort()
        return web.Response()

    async def _until_changed(self, seconds: float | None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
