"""Customers who wait as messages in a chat of Slack, by an incoming webhook.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: the address is the secret.
https://docs.slack.dev/messaging/formatting-message-text: `&`, `<` and `>` are escaped, so that nothing a customer
wrote becomes a link or calls a whole channel. A block's text has 3,000 characters at most, a header 150, a
message 50 blocks. A message cannot be changed afterwards, and repeats are not removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from alerting import lines, outbound, secret
from alerting.lines import Line
from alerting.notify import Notice
from alerting.posting import Answer, Rim, post
from schemas.configuration import ReceiverSpec

TAKES: Final = frozenset({"urls", "secret", "secret_file", "allow_private"})
DIGEST_SECONDS: Final = 10.0
BLOCK_CHARACTERS: Final = 3_000
HEADER_CHARACTERS: Final = 150
LINE_CHARACTERS: Final = 600
CUSTOMERS_SHOWN: Final = 20
MORE: Final = "and {} more contacts"
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Slack:
    """All that is handed over is one message: a header, and a block per customer, the gravest first."""

    batch = 10_000
    resends = False
    by_labels = False
    by_customer = True

    def __init__(self, spec: ReceiverSpec, rim: Rim) -> None:
        self._spec = spec
        self._rim = rim
        self._url = _address(spec)

    async def deliver(self, notices: Sequence[Notice]) -> Sequence[Answer]:
        """One POST for all of them."""
        session = self._rim.session(self._spec.allow_private)
        headers = {"Content-Type": "application/json"}
        answer = await post(session, self._url, orjson.dumps(message(notices)), headers, self._spec.timeout_seconds)
        return [answer] * len(notices)


def message(notices: Sequence[Notice]) -> dict[str, Any]:
    """The body: `text` is what a notification on a screen shows."""
    shown = lines.gravest_first(notices)
    alone = len(shown) == 1
    title = lines.headline(shown[0].record) if alone else lines.counted(shown)
    header = {"type": "plain_text", "text": escaped(title, HEADER_CHARACTERS)}
    blocks: list[dict[str, Any]] = [{"type": "header", "text": header}]
    for notice in shown[:CUSTOMERS_SHOWN]:
        text = _customer(notice.record, titled=not alone)
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    if (hidden := len(shown) - CUSTOMERS_SHOWN) > 0:
        more = {"type": "mrkdwn", "text": f"and {hidden} more customers"}
        blocks.append({"type": "context", "elements": [more]})
    text = title if alone else f"{title}: " + ", ".join(lines.whom(notice.record) for notice in shown[:CUSTOMERS_SHOWN])
    return {"text": escaped(lines.printable(text), LINE_CHARACTERS), "blocks": blocks}


def escaped(text: str, most: int = BLOCK_CHARACTERS) -> str:
    """Text in which nothing is a link or a mention, of at most so many characters once escaped."""
    found = text.translate(_ESCAPES)
    if len(found) <= most:
        return found
    room, kept = most - 1, []
    for char in text:
        room -= len(char.translate(_ESCAPES))
        if room < 0:
            break
        kept.append(char)
    return "".join(kept).translate(_ESCAPES) + "…"


def _customer(record: Mapping[str, Any], *, titled: bool) -> str:
    """One customer's block: as many whole lines as there is room for."""
    page = lines.web_address(record["annotations"].get("board_url"))
    rows = [f"*{escaped(lines.headline(record))}*"] if titled else []
    rows += [f"<{escaped(page)}|Open the board>"] if page else []
    rows += [escaped(why)] if (why := lines.why_here(record)) else []
    hidden = lines.more(record)
    for line in lines.lines(record):
        room = BLOCK_CHARACTERS - 2 * len(MORE) - sum(len(row) + 1 for row in rows)
        row = next((row for row in (_row(line, linked=True), _row(line, linked=False)) if len(row) <= room), None)
        if row is None:
            hidden += 1
        else:
            rows.append(row)
    rows += [MORE.format(hidden)] if hidden else []
    return "\n".join(rows)


def _row(line: Line, *, linked: bool) -> str:
    mark = f"~{escaped(line.mark)}~" if line.over else f"*{escaped(line.mark)}*"
    links = " · ".join(f"<{escaped(href)}|{name}>" for name, href in line.links)
    text = escaped(line.text, LINE_CHARACTERS)
    return f"• {mark} {text}" + (f" {links}" if links and linked else "")


def _address(spec: ReceiverSpec) -> str:
    """The webhook's address, wherever it is kept. Raises ValueError, which does not say it."""
    found = secret.of(spec)
    addresses = [*spec.urls, *([found] if found is not None else [])]
    if len(addresses) != 1:
        raise ValueError(f"found {len(addresses)} addresses, wanted the webhook's, in urls, secret or secret_file")
    if not addresses[0].startswith(("http://", "https://")):
        raise ValueError("found a webhook of another kind, wanted https://hooks.slack.com/services/...")
    return addresses[0]


def faults(spec: ReceiverSpec, hosts: Sequence[str] | None) -> list[str]:
    """One address."""
    try:
        return outbound.faults([_address(spec)], hosts, allow_private=spec.allow_private)
    except ValueError as fault:
        return [str(fault)]


def make(spec: ReceiverSpec, rim: Rim) -> Slack:
    """The chat of a configuration without `faults`."""
    return Slack(spec, rim)
