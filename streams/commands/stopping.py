"""Runs a system until a signal or a failure ends it, in order and within ten seconds.

What the system is belongs to `streams.commands.running`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn

import structlog

from schemas.customers import Customer
from streams import logs
from streams.commands.running import System
from streams.transport import BrokerUnreachable

STOP_SECONDS_MAX: Final = 9.5
Beside = Callable[[], Coroutine[Any, Any, None]]

log = structlog.get_logger(__name__)


async def run_until_stopped(system: System, customers: Sequence[Customer] = (), beside: Beside | None = None) -> None:
    """Start, run until SIGTERM or SIGINT, stop within 10 seconds; a second signal ends the process at once. What runs
    `beside` may end as it likes. Raises what stopped it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled() -> None:
        if stop.is_set():
            _leave_at_once("stopping_at_once")
        stop.set()
        last = threading.Timer(STOP_SECONDS_MAX, _leave_at_once, ("not_stopped_in_time",))
        last.daemon = True
        last.start()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, signalled)
    work = asyncio.create_task(_work(system, customers, beside))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        for task in (work, stopped):
            task.cancel()
        await asyncio.wait((work, stopped))
        await system.stop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(name)


async def _work(system: System, customers: Sequence[Customer], beside: Beside | None) -> None:
    await system.start()
    if customers:
        await system.put_customers(customers)
    also = asyncio.create_task(beside()) if beside is not None else None
    try:
        await system.wait_failed()
    except BrokerUnreachable:
        await system.outlast()
        raise
    finally:
        if also is not None:
            also.cancel()
            await asyncio.wait((also,))


def _leave_at_once(why: str) -> NoReturn:
    """What is in hand was not acknowledged: it is handed out again after a restart."""
    log.warning(why)
    logs.flush()
    os._exit(1)
