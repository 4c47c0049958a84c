"""Who may ask: where we listen, the token, and the names under which a browser may reach us.

Without a token we listen on loopback alone. There a web page elsewhere could still reach us by pointing a
name of its own at 127.0.0.1 (DNS rebinding), so that the Host header must be one of ours.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/login", "/logout", "/v1/webhooks/pagerduty"})
OPEN_PREFIX: Final = "/static/"
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


class UnsafeListen(ValueError):  # noqa: N818 - the name of what it found
    """An address that others reach, without a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where and for whom. `port` 0 is any free one. `token`: what `Authorization: Bearer` must carry on every
    request but those for health, for the form by which a browser gives it, for style and script, and webhooks that
    are signed.
    `allowed_hosts`: further Host headers, `name` or `name:port`; checked on loopback, and elsewhere where any is
    given. Raises UnsafeListen."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is not None and not self.token.strip():
            raise UnsafeListen("found an empty HTTP token, wanted one that is hard to guess, or none at all")
        if self.token is None and not self.loopback:
            raise UnsafeListen(
                f"listening on {self.host!r} lets others in: set an HTTP token, or listen on 127.0.0.1 alone"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


def host_checked(listen: Listen) -> Middleware:
    """Refuses requests under a name that is not ours, with 421."""
    ours = {name.lower() for name in listen.allowed_hosts}
    own = (*LOOPBACK_NAMES, f"[{listen.host}]" if ":" in listen.host else listen.host)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if listen.loopback or ours:
            host = request.headers.get("Host", "").lower()
            with_port = {f"{name}:{_port(request)}" for name in own}
            bare = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
            if host not in with_port and host not in ours and bare not in ours and not _default_port(request, host):
                raise web.HTTPMisdirectedRequest(text="The Host header names somebody else; ask by our own address.")
        return await handler(request)

    return check


def token_checked(
    listen: Listen,
    session: Callable[[web.Request], bool] = lambda _: False,
    asked_for: Callable[[web.Request], web.Response | None] = lambda _: None,
) -> Middleware:
    """Refuses requests without the token, with 401, before anything else of them is looked at. `session`: whether
    a browser gave it before; `asked_for`: the form in which a browser may give it."""
    token = None if listen.token is None else listen.token.encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token is not None and request.path not in OPEN_PATHS and not request.path.startswith(OPEN_PREFIX):
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token)
            if (scheme.lower() != "bearer" or not same) and not session(request):
                form = asked_for(request)
                if form is not None:
                    return form
                raise web.HTTPUnauthorized(
                    text="A token is needed: Authorization: Bearer …", headers={"WWW-Authenticate": "Bearer"}
                )
        return await handler(request)

    return check


def _port(request: web.Request) -> int | None:
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return name[1] if name else None


def _default_port(request: web.Request, host: str) -> bool:
    """On port 80 clients leave the port out."""
    return _port(request) == 80 and host in LOOPBACK_NAMES
