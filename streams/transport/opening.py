"""Which broker a URL means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.transport.client import LogClient
from streams.transport.errors import TransportError
from streams.transport.settings import TransportSettings

if TYPE_CHECKING:
    from streams.transport.driver import BulkTransport


def open_log(broker_url: str, settings: TransportSettings | None = None) -> LogClient:
    """A log client for `sqlite:///path` or `kafka://host:port[,host:port]`, not started. Clients of the
    same sqlite path in one process share one log. Raises `TransportError` for another kind of URL."""
    settings = settings or TransportSettings()
    match broker_url.partition("://")[0]:
        case "sqlite":
            from streams.transport.sqlite import open_sqlite

            return open_sqlite(broker_url)
        case "kafka":
            from streams.transport.kafka import KafkaLog

            return KafkaLog(broker_url, settings)
    raise TransportError(f"wanted a broker as sqlite:///PATH or kafka://HOST:PORT, found {broker_url}")


def transport_for(broker_url: str) -> type[BulkTransport]:
    """The Faust transport for a broker."""
    match broker_url.partition("://")[0]:
        case "sqlite":
            from streams.transport.sqlite_member import Transport as SqliteTransport

            return SqliteTransport
        case "kafka":
            from streams.transport.kafka_member import Transport as KafkaTransport

            return KafkaTransport
    raise TransportError(f"wanted a broker as sqlite:///PATH or kafka://HOST:PORT, found {broker_url}")
