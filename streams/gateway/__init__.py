"""The HTTP door: events in, health, metrics and explanations out, also while tables recover.

    gateway = Gateway(publish=..., customer_of=..., ready=..., alive=..., explain=..., metrics=...)
    listen = Listen(host="127.0.0.1", port=8080)         # raises UnsafeListen beyond loopback without a token
    server = Server(create_http(gateway, listen))
    await server.start()                                 # raises OSError where the port is taken
    server.url
    await server.stop()

What a record means, where it is kept and how a clock is explained is not decided here: it is handed in.
"""

from streams.gateway.access import Listen, UnsafeListen
from streams.gateway.http import create_http
from streams.gateway.server import Server
from streams.gateway.service import (
    Acknowledge,
    Document,
    Gateway,
    Liveness,
    NotYetKnown,
    Publish,
    Readiness,
    ReportsAway,
)

__all__ = [
    "Acknowledge",
    "Document",
    "Gateway",
    "Listen",
    "Liveness",
    "NotYetKnown",
    "Publish",
    "Readiness",
    "ReportsAway",
    "Server",
    "UnsafeListen",
    "create_http",
]
