"""Mails to contact events: customers' mails, our answers, automatic replies, bounces (C4, C13, C14, C18).

A thread is a contact: `mail:` and the Message-ID of its first mail (RFC 5322, 3.6.4). Where mails lie on
disk does not belong here, nor who the customer is: events name addresses (C19).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from typing import Any

from schemas.events import (
    ID_CHARACTERS_MAX,
    Bounced,
    Channel,
    ContactOpened,
    Event,
    MessageBounced,
    MessageReceived,
    MessageSent,
    Opened,
    Received,
    Sent,
)
from schemas.refusals import Reason, Refusal
from streams.ingest.autoreply import is_automated
from streams.ingest.bounce import Bounce, Failure, bounce_in, is_feedback
from streams.ingest.letter import Unreadable, addresses, decoded, digest, header, own_id, parse, thread_root
from streams.ingest.mail_date import written_at

SOURCE = "/mail"
SUMMARY_CHARACTERS_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """What is ours: whole domains (their subdomains too) and single addresses, lower case. With neither,
    every mail is a customer's and every bounce is of a mail of ours."""

    domains: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()

    def owns(self, address: str) -> bool:
        """Whether the address is ours."""
        domain = address.rpartition("@")[2]
        above = {domain.split(".", count)[-1] for count in range(domain.count(".") + 1)}
        return address in self.addresses or not above.isdisjoint(self.domains)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a mail came to: events, and a refusal for each thing in it that became none."""

    events: tuple[Event, ...] = ()
    refusals: tuple[Refusal, ...] = ()


def read_mail(raw: bytes, *, origin: str, ours: Ours) -> Reading:
    """The events of one mail. `origin` (path, and number in a mailbox) stands in front of each refusal's
    detail. Never raises: every mail becomes an event or a refusal.

    Refused as `broken_mail` (no mail, no sender, a bounce without recipient and message id),
    `naive_instant` or `absurd_instant` (no date), `not_a_bounce` (complaints, reports that a mail did
    arrive), `no_customer` (a mail among ourselves), `invalid_field`."""
    try:
        reading = read_message(raw, ours)
    except Unreadable as error:
        reading = _refused(Reason.BROKEN_MAIL, str(error))
    except Exception as error:  # noqa: BLE001 - the standard library's mail parser fails on hostile bytes in many ways
        reading = _refused(Reason.BROKEN_MAIL, f"the mail cannot be read: {type(error).__name__}")
    return Reading(events=reading.events, refusals=tuple(_located(refusal, origin) for refusal in reading.refusals))


def read_message(raw: bytes, ours: Ours) -> Reading:
    """As `read_mail`, but raises `Unreadable`, and what the mail parser raises."""
    message = parse(raw)
    if is_feedback(message):
        return _refused(Reason.NOT_A_BOUNCE, "a complaint about abuse (RFC 5965)")
    own = own_id(message) or digest(raw)
    bounce = bounce_in(message)
    if bounce is None:
        return _ordinary(message, own, ours)
    return _bounced(message, own, bounce, ours)


def contact_id(message_id: str) -> str:
    """The contact of the thread that the mail of that id began."""
    return _bounded(f"mail:{message_id}")


def _address(text: str | None) -> str | None:
    """An address without what cannot be printed; None where nothing is left."""
    return _bounded(text).strip() or None if text else None


def _bounded(text: str) -> str:
    """An id within the limit: one that is too long is its digest."""
    clean = "".join(character for character in text if character.isprintable())
    if len(clean) <= ID_CHARACTERS_MAX:
        return clean
    return "mail:sha256:" + hashlib.sha256(clean.encode("utf-8", "replace")).hexdigest()


def _ordinary(message: Message, own: str, ours: Ours) -> Reading:
    sender = next(iter(addresses(message, "From", "Sender", "Reply-To", "Return-Path")), None)
    if sender is None:
        return _refused(Reason.BROKEN_MAIL, "no sender's address in From, Sender, Reply-To or Return-Path", "sender")
    time = written_at(message)
    if isinstance(time, Refusal):
        return Reading(refusals=(time,))
    if ours.owns(sender):
        return _sent(message, own, time, ours)
    return _received(message, own, time, sender)


def _received(message: Message, own: str, time: datetime, sender: str) -> Reading:
    """A customer's mail: the first of its thread opens the contact, unless a machine wrote it (C18)."""
    root = thread_root(message)
    automated = is_automated(message)
    subject = contact_id(root or own)
    if root is None and not automated:
        opened = Opened(**_opening(message, own), opened_by="customer", sender=_address(sender))
        return _events(ContactOpened(id=_bounded(own), source=SOURCE, time=time, subject=subject, data=opened))
    data = Received(message_id=_bounded(own), automated=automated, channel=Channel.EMAIL, sender=_address(sender))
    return _events(MessageReceived(id=_bounded(own), source=SOURCE, time=time, subject=subject, data=data))


def _sent(message: Message, own: str, time: datetime, ours: Ours) -> Reading:
    """A mail of ours: an answer to the first customer among its recipients; among ourselves it is an
    internal note in its thread, and nothing without one (C4). The first of its thread opens the contact too."""
    recipients = addresses(message, "To", "Cc", "Bcc")
    customer = next((one for one in recipients if not ours.owns(one)), None)
    root = thread_root(message)
    automated = is_automated(message)
    subject = contact_id(root or own)
    if root is None and customer is None:
        return _refused(Reason.NO_CUSTOMER, "a mail among ourselves that answers none")
    data = Sent(
        message_id=_bounded(own),
        automated=automated,
        public=customer is not None,
        recipient=_address(customer),
        channel=Channel.EMAIL,
    )
    sent = MessageSent(id=_bounded(own), source=SOURCE, time=time, subject=subject, data=data)
    if root is not None or automated:
        return _events(sent)
    opened = Opened(**_opening(message, own), opened_by="agent", recipient=_address(customer))
    opening = ContactOpened(
        id=_bounded(f"{own[: ID_CHARACTERS_MAX - 40]}#opened"), source=SOURCE, time=time, subject=subject, data=opened
    )
    return _events(opening, sent)


def _opening(message: Message, own: str) -> dict[str, Any]:
    """What the first mail of a thread says of its contact."""
    return {
        "channel": Channel.EMAIL,
        "summary": decoded(header(message, "Subject"))[:SUMMARY_CHARACTERS_MAX] or None,
        "message_id": _bounded(own),
    }


def _bounced(message: Message, own: str, bounce: Bounce, ours: Ours) -> Reading:
    refusals = [Refusal(reason=Reason.NOT_A_BOUNCE, detail=why) for why in bounce.not_failures]
    known = [one for one in bounce.failures if one.recipient or bounce.returned.message_id]
    if len(known) < len(bounce.failures) or not (known or refusals):
        nameless = "a bounce that names neither recipient nor message"
        refusals.append(Refusal(reason=Reason.BROKEN_MAIL, detail=nameless, field="recipient"))
    time = written_at(message, (*bounce.dates, *bounce.returned.dates))
    if isinstance(time, Refusal):
        return Reading(refusals=(*refusals, time))
    inbound = _is_inbound(message, bounce, ours)
    events = [
        MessageBounced(
            id=_bounded(f"{own[: ID_CHARACTERS_MAX - 40]}#{number}"),
            source=SOURCE,
            time=time,
            subject=contact_id(bounce.returned.thread_root or bounce.returned.message_id or own),
            data=_bounced_data(failure, bounce, message, inbound=inbound),
        )
        for number, failure in enumerate(known, start=1)
    ]
    return Reading(events=tuple(events), refusals=tuple(refusals))


def _bounced_data(failure: Failure, bounce: Bounce, message: Message, *, inbound: bool) -> Bounced:
    sender = next(iter((*bounce.returned.senders, *addresses(message, "To"))), None) if inbound else None
    return Bounced(
        direction="inbound" if inbound else "outbound",
        permanent=failure.permanent,
        message_id=_bounded(bounce.returned.message_id) if bounce.returned.message_id else None,
        recipient=_address(failure.recipient),
        sender=_address(sender),
        status=failure.status,
        reason=failure.reason or None,
    )


def _is_inbound(message: Message, bounce: Bounce, ours: Ours) -> bool:
    """Whether the mail that bounced was a customer's to us (C14): its sender is not ours, and it was for
    one of us. Where the bounce does not show the sender, the bounce itself came back to him. Else it was
    ours: bounces come to who wrote."""
    senders = bounce.returned.senders or tuple(addresses(message, "To"))
    if any(map(ours.owns, senders)):
        return False
    meant = [one.recipient for one in bounce.failures if one.recipient]
    return any(map(ours.owns, [*meant, *bounce.returned.recipients]))


def _events(*events: Event) -> Reading:
    return Reading(events=events)


def _refused(reason: Reason, detail: str, field: str | None = None) -> Reading:
    return Reading(refusals=(Refusal(reason=reason, detail=detail, field=field),))


def _located(refusal: Refusal, origin: str) -> Refusal:
    return Refusal(reason=refusal.reason, detail=f"{origin}: {refusal.detail}", field=refusal.field)


def read_mails(mails: Iterable[tuple[str, bytes | Refusal]], ours: Ours) -> Iterator[Reading]:
    """`read_mail` for each (origin, bytes), as `mailbox.messages_in` gives them; its refusals pass through."""
    for origin, raw in mails:
        yield Reading(refusals=(raw,)) if isinstance(raw, Refusal) else read_mail(raw, origin=origin, ours=ours)
