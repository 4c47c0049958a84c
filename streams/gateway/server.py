"""Serving the application: a real port, started and stopped from the program, never by signals.

What is served is made by `http`.
"""

from __future__ import annotations

import logging
import os
from typing import Final

from aiohttp import web

from streams.gateway.http import LISTEN

STOP_SECONDS: Final = 5.0
KEEPALIVE_SECONDS: Final = 30.0
LINGERING_SECONDS: Final = 2.0


class Server:
    """One listening port. `stop` lets requests in hand end, for at most `stop_seconds`."""

    def __init__(self, app: web.Application, *, stop_seconds: float = STOP_SECONDS) -> None:
        self._listen = app[LISTEN]
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            logger=_wordless_log(),
            shutdown_timeout=stop_seconds,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
        )

    async def start(self) -> None:
        """Listens. Raises OSError where the port is taken or the host is not ours."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._listen.host, self._listen.port).start()
        except OSError as unusable:
            await self._runner.cleanup()
            raise self._named(unusable) from None
        except BaseException:
            await self._runner.cleanup()
            raise

    def _named(self, unusable: OSError) -> OSError:
        """The same with the address in the place of a file's name."""
        number = unusable.errno or 0
        reason = os.strerror(number) if number > 0 else unusable.strerror  # names that do not resolve count below 0
        return OSError(number, reason, f"{self._listen.host}:{self._listen.port}")

    @property
    def port(self) -> int:
        """The port that it listens on, also where any was wanted."""
        return int(self._runner.addresses[0][1])

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        host = f"[{self._listen.host}]" if ":" in self._listen.host else self._listen.host
        return f"http://{host}:{self.port}"

    async def stop(self) -> None:
        """Takes no further request, ends those in hand, closes. Stopped already: nothing."""
        await self._runner.cleanup()


def _wordless_log() -> logging.Logger:
    """What cannot be read as HTTP is logged by its kind: aiohttp would quote what was sent."""
    logger = logging.getLogger(f"{__name__}.protocol")
    if not logger.filters:
        logger.addFilter(_without_words)
    return logger


def _without_words(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    record.msg, record.args = f"request could not be read: {type(error).__name__}", ()
    record.exc_info = record.exc_text = None
    return True
