"""Bounces that a sending service mails as JSON: Amazon SES's notifications.

(https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html) The same records by webhook do not
belong here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from streams.ingest.delivery_report import Fate
from streams.ingest.letter import address, message_ids

RECIPIENTS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonNotice:
    """What a notification says: its kind in lower case, the fates of recipients if it is a `bounce` or
    a `deliverydelay`, and the mail it is about."""

    kind: str
    fates: tuple[Fate, ...]
    message_id: str | None
    sender: str | None
    recipients: tuple[str, ...]


def json_notice_in(text: str) -> JsonNotice | None:
    """The notification that the text begins with; None for any other text. A line that a mail system
    broke with `!` is joined again."""
    body = text.lstrip().replace("!\n ", "")
    if not body.startswith("{") or "notificationType" not in body:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(body)
    except (ValueError, RecursionError):
        return None
    return _notice(found) if isinstance(found, dict) and isinstance(found.get("notificationType"), str) else None


def _notice(found: dict[str, Any]) -> JsonNotice:
    kind = str(found["notificationType"]).lower()
    mail = _mapping(found.get("mail"))
    shared = _mapping(mail.get("commonHeaders"))
    ids = [*message_ids(_words(shared.get("messageId"))), _words(mail.get("messageId"))]
    return JsonNotice(
        kind=kind,
        fates=tuple(_fates(found, kind)),
        message_id=next(filter(None, ids), None),
        sender=address(_words(mail.get("source"))),
        recipients=tuple(filter(None, map(address, map(_words, _list(mail.get("destination")))))),
    )


def _fates(found: dict[str, Any], kind: str) -> list[Fate]:
    if kind == "bounce":
        recipients, action = _list(_mapping(found.get("bounce")).get("bouncedRecipients")), "failed"
    elif kind == "deliverydelay":
        recipients, action = _list(_mapping(found.get("deliveryDelay")).get("delayedRecipients")), "delayed"
    else:
        return []
    return [_fate(_mapping(one), action) for one in recipients[:RECIPIENTS_MAX]]


def _fate(recipient: dict[str, Any], action: str) -> Fate:
    return Fate(
        recipient=address(_words(recipient.get("emailAddress"))),
        action=action,
        status=_words(recipient.get("status")),
        diagnostic=_words(recipient.get("diagnosticCode")),
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _words(value: object) -> str:
    return value if isinstance(value, str) else ""
