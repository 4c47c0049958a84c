"""Customers who wait as e-mails: text and HTML, over STARTTLS or TLS, signed in.

A customer's mails are one thread: each refers to the customer's episode by the same made-up Message-ID
(RFC 5322, section 3.6.4), has the same subject, and a Message-ID of its own that is the same at every try.
They say that nobody should answer them automatically (RFC 3834). Many customers at once are one mail.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import cache
from hashlib import blake2b
from typing import Any, Final

import jinja2

from alerting import lines, outbound, secret
from alerting.notify import Notice
from alerting.posting import Answer, Rim
from alerting.smtp import PORTS, Sending, Server
from schemas.configuration import ReceiverSpec

TAKES: Final = frozenset(
    {"host", "port", "tls", "ca_file", "user", "secret", "secret_file", "sender", "to", "allow_private"}
)
DIGEST_SECONDS: Final = 30.0
SINGLE_MOST: Final = 5
"""So many customers at once get a mail each; more are one mail."""

CUSTOMERS_SHOWN: Final = 50
LINES_SHOWN: Final = 5
"""Of each customer, where a mail is about many."""

SUBJECT_CHARACTERS: Final = 200


class Email:
    """One connection for what is handed over."""

    batch = 10_000
    resends = False
    by_labels = False
    by_customer = True

    def __init__(self, spec: ReceiverSpec, rim: Rim) -> None:
        self._rim = rim
        self._sender = spec.sender or ""
        self._to = spec.to
        self._timeout_seconds = spec.timeout_seconds
        self._server = Server(
            host=spec.host or "",
            port=spec.port or PORTS[spec.tls],
            tls=spec.tls,
            context=ssl.create_default_context(cafile=spec.ca_file),
            connect=lambda host, port, seconds: outbound.connection(
                host, port, seconds, allow_private=spec.allow_private
            ),
            timeout_seconds=spec.timeout_seconds,
            user=spec.user,
            password=secret.of(spec),
        )

    async def deliver(self, notices: Sequence[Notice]) -> Sequence[Answer]:
        """A mail each, or one for all. Together they take no longer than twice the time that one step may."""
        mails = self._mails(notices)
        sending = Sending(self._server)
        work = asyncio.ensure_future(asyncio.to_thread(sending.send, mails, self._sender, self._to))
        try:
            await asyncio.wait((work,), timeout=2 * self._timeout_seconds)
        finally:
            if not work.done():
                sending.abort()
        if not work.done():
            await asyncio.wait((work,), timeout=1.0)
        late = Answer(result="unknown", detail="no answer in time", away=True)
        answers = work.result() if work.done() else [late] * len(mails)
        return answers if len(answers) == len(notices) else answers * len(notices)

    def _mails(self, notices: Sequence[Notice]) -> list[EmailMessage]:
        if len(notices) > SINGLE_MOST:
            return [mail(lines.gravest_first(notices), self._sender, self._to, self._rim.wall())]
        return [mail([notice], self._sender, self._to, self._rim.wall()) for notice in notices]


def mail(notices: Sequence[Notice], sender: str, to: Sequence[str], sent_at: datetime) -> EmailMessage:
    """A mail about these customers, in their order."""
    domain = Address(addr_spec=sender).domain
    made = EmailMessage()
    made["From"], made["To"] = f"heardback <{sender}>", ", ".join(to)
    made["Date"] = format_datetime(sent_at)
    made["Subject"] = lines.shortened(_subject(notices), SUBJECT_CHARACTERS)
    made["Message-ID"] = f"<{_key(notices)}@{domain}>"
    if len(notices) == 1:
        made["In-Reply-To"] = made["References"] = f"<{notices[0].alert_id}@{domain}>"
    made["Auto-Submitted"] = "auto-generated"
    made["X-Auto-Response-Suppress"] = "All"
    if any(notice.record["state"] == "firing" and notice.record["severity"] != "warning" for notice in notices):
        made["Importance"] = "high"
    most = None if len(notices) == 1 else LINES_SHOWN
    shown = [_customer(notice.record, most) for notice in notices[:CUSTOMERS_SHOWN]]
    title = lines.headline(notices[0].record) if len(notices) == 1 else lines.counted(notices)
    said = {"title": title, "customers": shown, "hidden": max(0, len(notices) - CUSTOMERS_SHOWN)}
    made.set_content(_template("mail.txt").render(said))
    made.add_alternative(_template("mail.html").render(said), subtype="html")
    return made


def _subject(notices: Sequence[Notice]) -> str:
    if len(notices) > 1:
        return f"heardback: {lines.counted(notices)}"
    return f"heardback: {lines.whom(notices[0].record)}"


def _key(notices: Sequence[Notice]) -> str:
    if len(notices) == 1:
        return notices[0].key
    return "digest_" + blake2b("\0".join(notice.key for notice in notices).encode(), digest_size=16).hexdigest()


def _customer(record: Mapping[str, Any], most: int | None) -> dict[str, Any]:
    found = lines.lines(record)
    return {
        "headline": lines.headline(record),
        "why_here": lines.why_here(record),
        "page": lines.web_address(record["annotations"].get("board_url")),
        "lines": found[:most],
        "more": lines.more(record) + len(found) - len(found[:most]),
    }


@cache
def _template(name: str) -> jinja2.Template:
    """Text is escaped in HTML, and only there."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("alerting"),
        autoescape=jinja2.select_autoescape(("html",)),
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)


def faults(spec: ReceiverSpec, hosts: Sequence[str] | None) -> list[str]:
    """A server, a sender, recipients; a password for a user, and never in clear."""
    found = []
    if spec.host is None:
        found.append("found no host, wanted the mail server's")
    else:
        found += outbound.faults_of_host(spec.host, hosts, allow_private=spec.allow_private)
    found += [] if spec.to else ["found nobody in to, wanted who is written to"]
    found += [] if spec.sender else ["found no sender, wanted whose address it comes from"]
    for address in (*([spec.sender] if spec.sender else []), *spec.to):
        if not _is_address(address):
            found.append(f"found {address!r}, wanted an address such as on-call@example.com")
    try:
        password = secret.of(spec)
    except ValueError as fault:
        return [*found, str(fault)]
    if (spec.user is None) != (password is None):
        found.append("found a user or a secret without the other, wanted both or none")
    if password is not None and spec.tls == "none":
        found.append("found a secret and tls: none, wanted starttls or tls")
    if spec.ca_file is not None and (broken := _broken_authority(spec.ca_file)):
        found.append(broken)
    return found


def _is_address(text: str) -> bool:
    try:
        found = Address(addr_spec=text)
    except (ValueError, IndexError):
        return False
    return bool(found.username and found.domain) and text.isprintable() and text.isascii()


def _broken_authority(path: str) -> str | None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        return f"ca_file {path}: {error.strerror or 'is no certificate'}"
    return None


def make(spec: ReceiverSpec, rim: Rim) -> Email:
    """The mail server of a configuration without `faults`."""
    return Email(spec, rim)
