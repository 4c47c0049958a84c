"""Whether a mail system wrote a mail, by its sender and return path.

What a mail system says does not belong here.
"""

from __future__ import annotations

from email.message import Message
from email.utils import parseaddr

from streams.ingest.autoreply import has_null_path
from streams.ingest.letter import decoded, header
from streams.ingest.notice import any_of

_DAEMON_NAME = any_of(
    r"^(?:internet )?mail(?:er)?[ .-]?(?:deliver|daemon|administrator|system)",
    r"^(?:system administrator|microsoft outlook|post_?master)$",
)
_DAEMON_ADDRESS = any_of(
    r"^<?mail(?:er)?[._-]?(?:daemon|deliver|administrator)",
    r"^<?post_?master(?:\\?@|>|$)",
    r"^<?mdaemon@",
    r"^<?\"?system[ ._-]administrator\"?@",
    r"^<?[\w.-]{0,40}smtp[\w.-]{0,20}(?:service|gateway)s?@",
    r"<\s*>$",
)
_MAILER_DAEMON = any_of(r"^<?mail(?:er)?[._-]?daemon", r"<\s*>$")
_ONLY_SYSTEMS = ("X-Failed-Recipients", "X-MLServer")


def is_daemon(message: Message) -> bool:
    """Whether a mail system wrote it: by the name or address of its sender (RFC 5321, 4.5.1), a return
    path of such an address, or a header that only mail systems write."""
    sender = header(message, "From")
    name, bare = parseaddr(sender)
    names = [decoded(text) for text in (name, sender.rpartition("(")[2]) if text]
    if not sender or any(_DAEMON_NAME.search(text) for text in names):
        return True
    if any(name in message for name in _ONLY_SYSTEMS):
        return True
    path = header(message, "Return-Path")
    return any(map(_DAEMON_ADDRESS.search, (bare or sender, path if path != "<>" else "")))


def is_mailer_daemon(message: Message) -> bool:
    """Whether it is one by an address that no person has: a mailer daemon's, or none at all."""
    sender = header(message, "From")
    return not sender or bool(_MAILER_DAEMON.search(parseaddr(sender)[1] or sender))


def is_notification(message: Message) -> bool:
    """Whether nobody is to answer it: from a mail system, or with the null return path."""
    return is_daemon(message) or has_null_path(message)
