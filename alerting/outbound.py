"""Where receivers may be: hosts by configuration, private addresses only where they are meant.

A private address that the configuration says in numbers (or as localhost) is meant, unless `allow_private` is
false. A name that leads to one is not, unless `allow_private` is true: whoever holds the name could point it
into this network. Names are looked at when a connection is made. Nothing is sent from here.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp
from yarl import URL


class PublicOnly(aiohttp.ThreadedResolver):
    """Names that lead into a private network are not found. Addresses in numbers never come here: they are
    refused with the configuration (`faults`)."""

    def __init__(self, allow_private: bool | None = False) -> None:
        super().__init__()
        self._local = allow_private is None

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
        """The public addresses of a host. Raises OSError when there is none."""
        found = await super().resolve(host, port, family)
        if self._local and is_local(host):
            return found
        return public([(result, result["host"]) for result in found])


def connection(host: str, port: int, timeout_seconds: float, *, allow_private: bool | None) -> socket.socket:
    """A connection to a host of the configuration (without `faults`), at an address that it may be at, within so
    many seconds for all its addresses. Raises OSError where there is none or nobody answers."""
    named = not _in_numbers(host) and not is_local(host)
    found = [(info, str(info[4][0])) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    infos = public(found) if allow_private is not True and (named or allow_private is False) else [i for i, _ in found]
    until, failure = time.monotonic() + timeout_seconds, OSError("no address")
    for family, kind, protocol, _, address in infos:
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(max(0.1, until - time.monotonic()))
            made.connect(address)
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure


def public(found: Iterable[tuple[Any, str]]) -> list[Any]:
    """Of things with an address those whose address is public. Raises OSError when there is none."""
    kept = [thing for thing, address in found if not is_private(address)]
    if not kept:
        raise OSError("no public address")
    return kept


def is_private(address: str) -> bool:
    """Whether an address is not on the open internet: loopback, link-local, private networks, and those inside
    an address of IPv6 that stands for one of IPv4."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inside = found.ipv4_mapped or found.sixtofour
        if inside is not None:
            return not inside.is_global
    return not found.is_global or found.is_multicast


def is_local(host: str) -> bool:
    """Whether a name is this host's own."""
    return host == "localhost" or host.endswith(".localhost")


def private_host(host: str) -> bool:
    """Whether a host is a private address in numbers, or this host."""
    return is_private(host) if _in_numbers(host) else is_local(host)


def faults(urls: Iterable[str], hosts: Sequence[str] | None, *, allow_private: bool | None) -> list[str]:
    """What is wrong with the addresses of a receiver, in words that hold no more of them than the host."""
    found = []
    for url in urls:
        try:
            host = URL(url).host or ""
        except ValueError:
            host = ""
        found += faults_of_host(host, hosts, allow_private=allow_private)
    return list(dict.fromkeys(found))


def faults_of_host(host: str, hosts: Sequence[str] | None, *, allow_private: bool | None) -> list[str]:
    """What is wrong with one host."""
    if not host:
        return ["found an address without a host"]
    found = []
    if allow_private is False and private_host(host):
        found.append("found a private address, wanted a public one or allow_private: true")
    if hosts is not None and not any(_matches(host, pattern) for pattern in hosts):
        found.append(f"found host {host}, wanted one of outbound_hosts: {', '.join(hosts) or 'there are none'}")
    return found


def _matches(host: str, pattern: str) -> bool:
    host, pattern = host.lower().rstrip("."), pattern.lower().rstrip(".")
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _in_numbers(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
