"""Customers who wait, through any of the services that apprise knows (https://appriseit.com/services/).

For those that have no receiver of their own here; `pip install heardback[apprise]` brings it. One address a
receiver; all that is handed over is one message in plain text. Whom apprise talks to is decided in its plugins:
neither `outbound_hosts` nor `allow_private: false` can be held there, so both together with it are refused.
What it answers is yes or no, so a no is tried again. Repeats are not removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from alerting import lines, secret
from alerting.notify import Notice
from alerting.posting import DELIVERED, Answer, Rim
from schemas.configuration import ReceiverSpec

TAKES: Final = frozenset({"urls", "secret", "secret_file", "allow_private"})
DIGEST_SECONDS: Final = 10.0
BODY_CHARACTERS: Final = 2_000
CUSTOMERS_SHOWN: Final = 10
LINE_CHARACTERS: Final = 300


class Apprise:
    """One message for all that is handed over."""

    batch = 10_000
    resends = False
    by_labels = False
    by_customer = True

    def __init__(self, spec: ReceiverSpec) -> None:
        self._service = _service(_address(spec))
        self._timeout_seconds = spec.timeout_seconds

    async def deliver(self, notices: Sequence[Notice]) -> Sequence[Answer]:
        """One notification."""
        title, body = message(notices)
        answer = Answer(result="unknown", detail="not taken by the service", away=True)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if await self._service.async_notify(body=body, title=title, body_format="text"):
                    answer = DELIVERED
        except TimeoutError:
            answer = Answer(result="unknown", detail="no answer in time", away=True)
        except (OSError, TypeError, ValueError) as error:
            answer = Answer(result="unknown", detail=type(error).__name__, away=True)
        return [answer] * len(notices)


def message(notices: Sequence[Notice]) -> tuple[str, str]:
    """Title and text."""
    shown = lines.gravest_first(notices)
    title = lines.headline(shown[0].record) if len(shown) == 1 else lines.counted(shown)
    rows: list[str] = []
    for notice in shown[:CUSTOMERS_SHOWN]:
        rows += _rows(notice.record, titled=len(shown) > 1)
    if len(shown) > CUSTOMERS_SHOWN:
        rows.insert(0, f"The gravest {CUSTOMERS_SHOWN} of {len(shown)}:")
    return lines.shortened(title, 200), lines.shortened("\n".join(rows), BODY_CHARACTERS)


def _rows(record: Mapping[str, Any], *, titled: bool) -> list[str]:
    rows = [lines.headline(record)] if titled else []
    rows += [why] if (why := lines.why_here(record)) else []
    for line in lines.lines(record):
        rows.append(f"* {line.mark}: {lines.shortened(line.text, LINE_CHARACTERS)}")
        rows += [f"  {href}" for name, href in line.links if name == "contact"]
    return rows + ([f"and {lines.more(record)} more"] if lines.more(record) else [])


def _service(address: str) -> Any:
    """What follows no redirects. Raises ValueError where apprise is not there, or knows no such address."""
    try:
        import apprise
    except ModuleNotFoundError:
        raise ValueError("apprise is not installed, wanted: pip install 'heardback[apprise]'") from None
    asset = apprise.AppriseAsset(http_redirects=False, async_mode=True)
    found = apprise.Apprise(asset=asset)
    if not found.add(address):
        raise ValueError("found an address that apprise does not know")
    return found


def _address(spec: ReceiverSpec) -> str:
    found = secret.of(spec)
    addresses = [*spec.urls, *([found] if found is not None else [])]
    if len(addresses) != 1 or "\n" in addresses[0]:
        raise ValueError(f"found {len(addresses)} addresses, wanted one, in urls, secret or secret_file")
    return addresses[0]


def faults(spec: ReceiverSpec, hosts: Sequence[str] | None) -> list[str]:
    """apprise itself, one address that it knows, and no bounds that it does not keep."""
    found = []
    if hosts is not None:
        found.append("found outbound_hosts, to which apprise cannot be held; wanted another type or none of them")
    if spec.allow_private is False:
        found.append("found allow_private: false, to which apprise cannot be held")
    try:
        _service(_address(spec))
    except ValueError as fault:
        found.append(str(fault))
    except AttributeError:
        found.append("found an apprise that follows redirects, wanted a newer one")
    return found


def make(spec: ReceiverSpec, rim: Rim) -> Apprise:  # noqa: ARG001  # as the registry wants it
    """The service of a configuration without `faults`."""
    return Apprise(spec)
