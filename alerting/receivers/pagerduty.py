"""Customers who wait as incidents of PagerDuty, by its Events API v2.

https://developer.pagerduty.com/docs/send-alert-event: `trigger` opens an incident or is added to the open one
with the same `dedup_key`, which is the customer's episode here; `acknowledge` and `resolve` name it only.
Severities there: critical, error, warning, info. A summary has 1,024 characters at most, an event 512 KB. Accounts in
the EU are at `urls: [https://events.eu.pagerduty.com/v2/enqueue]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from alerting import lines, outbound, secret
from alerting.notify import Notice
from alerting.posting import Answer, Rim, post
from schemas.configuration import ReceiverSpec

TAKES: Final = frozenset({"urls", "secret", "secret_file", "allow_private"})
URL: Final = "https://events.pagerduty.com/v2/enqueue"
AT_ONCE: Final = 8
SUMMARY_CHARACTERS: Final = 1_024
EVENT_BYTES: Final = 512 * 1_024
LINKS_MOST: Final = 20
_SEVERITIES: Final = {"warning": "warning", "page": "error", "critical": "critical"}


class PagerDuty:
    """One event a notice, a few at once."""

    batch = 64
    resends = False
    by_labels = False
    by_customer = True

    def __init__(self, spec: ReceiverSpec, rim: Rim) -> None:
        self._spec = spec
        self._rim = rim
        self._url = spec.urls[0] if spec.urls else URL
        self._routing_key = secret.needed(spec)
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def deliver(self, notices: Sequence[Notice]) -> Sequence[Answer]:
        """One POST each."""
        return await asyncio.gather(*(self._post(notice) for notice in notices))

    async def _post(self, notice: Notice) -> Answer:
        body = encoded({"routing_key": self._routing_key, **event(notice)})
        headers = {"Content-Type": "application/json"}
        async with self._gate:
            session = self._rim.session(self._spec.allow_private)
            return await post(session, self._url, body, headers, self._spec.timeout_seconds)


def event(notice: Notice) -> dict[str, Any]:
    """The event without its routing key."""
    record = notice.record
    named = {"event_action": _action(record), "dedup_key": f"heardback-{notice.alert_id}"}
    if named["event_action"] != "trigger":
        return named
    payload = {
        "summary": lines.shortened(lines.printable(record["summary"]), SUMMARY_CHARACTERS),
        "source": "heardback",
        "severity": _SEVERITIES[record["severity"]],
        "timestamp": record["at"],
        "component": lines.printable(record["customer_id"] or record["kind"]),
        "group": record["labels"].get("tier"),
        "class": record["kind"],
        "custom_details": _details(record),
    }
    found = lines.lines(record)
    links = [{"href": href, "text": f"{line.contact_id}: {name}"} for line in found for name, href in line.links]
    content = {**named, "client": "heardback", "links": links[:LINKS_MOST],
               "payload": {name: value for name, value in payload.items() if value is not None}}  # fmt: skip
    if page := lines.web_address(record["annotations"].get("board_url")):
        content["client_url"] = page
    return content


def encoded(content: dict[str, Any]) -> bytes:
    """The body, with fewer lines where it would be too large, and in the end without any."""
    body = orjson.dumps(content)
    details = content.get("payload", {}).get("custom_details", {})
    while len(body) > EVENT_BYTES and details.get("contacts"):
        details["contacts"] = details["contacts"][: len(details["contacts"]) // 2]
        details["shortened"] = "yes"
        body = orjson.dumps(content)
    return body


def _action(record: Mapping[str, Any]) -> str:
    if record["state"] != "firing":
        return "resolve"
    return "acknowledge" if record.get("acknowledged") else "trigger"


def _details(record: Mapping[str, Any]) -> dict[str, Any]:
    contacts = [
        {"contact": line.contact_id, "state": line.mark, "kind": line.kind, "summary": line.text, **dict(line.facts)}
        for line in lines.lines(record)
    ]
    details: dict[str, Any] = {"about": lines.whom(record), "waiting_since": record["starts_at"], "contacts": contacts}
    if lines.more(record):
        details["more"] = lines.more(record)
    if why := lines.why_here(record):
        details["undelivered"] = why
    return details


def faults(spec: ReceiverSpec, hosts: Sequence[str] | None) -> list[str]:
    """At most one address (the service's own by default), and the integration's routing key as secret."""
    found = [f"found {len(spec.urls)} urls, wanted one at most"] if len(spec.urls) > 1 else []
    found += outbound.faults(spec.urls or [URL], hosts, allow_private=spec.allow_private)
    try:
        secret.needed(spec)
    except ValueError as fault:
        found.append(f"{fault}: the routing key of an Events API v2 integration")
    return found


def make(spec: ReceiverSpec, rim: Rim) -> PagerDuty:
    """The service of a configuration without `faults`."""
    return PagerDuty(spec, rim)
