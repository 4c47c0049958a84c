"""Handing mails to a mail server (RFC 5321), over TLS and signed in, and what became of each.

It blocks: callers run it in a thread, and end it from outside by `abort`. What the mails say and how they are
made does not belong here.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final, Literal

from alerting.posting import CONNECT_SECONDS, DELIVERED, Answer

PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
_AWAY: Final = 421
Connect = Callable[[str, int, float], socket.socket]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A mail server: `host` is whom its certificate must name. `password` without `user` is of no use."""

    host: str
    port: int
    tls: Literal["starttls", "tls", "none"]
    context: ssl.SSLContext
    connect: Connect
    timeout_seconds: float
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Server({self.host}:{self.port}, {self.tls})"


class Sending:
    """One connection for a few mails."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session: smtplib.SMTP | None = None

    def send(self, mails: Sequence[EmailMessage], sender: str, recipients: Sequence[str]) -> list[Answer]:
        """An answer for each mail; raises nothing. Before the server has said yes to a mail's end it may have it
        or not."""
        try:
            self._session = session = self._connected()
            self._introduce(session)
        except smtplib.SMTPResponseException as refused:
            self.abort()
            return [_understood(refused.smtp_code, "sign in", away=True)] * len(mails)
        except (OSError, smtplib.SMTPException, ssl.SSLError) as error:
            self.abort()
            return [Answer(result="not_taken", detail=f"not reachable: {type(error).__name__}", away=True)] * len(mails)
        answers: list[Answer] = []
        for mail in mails:
            answers.append(self._one(session, mail, sender, recipients))
            if answers[-1].away:
                answers += [Answer(result="not_taken", detail=answers[-1].detail, away=True)] * (
                    len(mails) - len(answers)
                )
                break
        with contextlib.suppress(OSError, smtplib.SMTPException):  # it has what it was to have
            session.quit()
        self.abort()
        return answers

    def abort(self) -> None:
        """Closes the connection, whatever it is at."""
        session = self._session
        if session is not None and session.sock is not None:
            with contextlib.suppress(OSError):  # not connected any more
                session.sock.shutdown(socket.SHUT_RDWR)
            session.close()

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        made = server.connect(server.host, server.port, min(CONNECT_SECONDS, server.timeout_seconds))
        made.settimeout(server.timeout_seconds)
        try:
            if server.tls == "tls":
                made = server.context.wrap_socket(made, server_hostname=server.host)
        except OSError:
            made.close()
            raise
        session = _On(made, server.host)
        code, said = session.getreply()
        if code != 220:
            session.close()
            raise smtplib.SMTPConnectError(code, said)
        return session

    def _introduce(self, session: smtplib.SMTP) -> None:
        session.ehlo_or_helo_if_needed()
        if self._server.tls == "starttls":
            session.starttls(context=self._server.context)  # raises where the server offers none: never in clear
            session.ehlo()
        if self._server.user is not None and self._server.password is not None:
            session.login(self._server.user, self._server.password)

    @staticmethod
    def _one(session: smtplib.SMTP, mail: EmailMessage, sender: str, recipients: Sequence[str]) -> Answer:
        try:
            code, _ = session.mail(sender)
            if code != 250:
                return _refused(session, code, "sender")
            codes = [session.rcpt(recipient)[0] for recipient in recipients]
            taken = [code for code in codes if code in (250, 251)]
            if not taken:
                return _refused(session, min(codes), "recipients")
        except (OSError, smtplib.SMTPException) as error:
            return Answer(result="not_taken", detail=type(error).__name__, away=True)
        try:
            code, _ = session.data(mail.as_bytes(policy=SMTP))
        except smtplib.SMTPDataError as refused:
            return _refused(session, refused.smtp_code, "content")
        except (OSError, smtplib.SMTPException) as error:
            return Answer(result="unknown", detail=type(error).__name__, away=True)
        if code != 250:
            return _refused(session, code, "content")
        if len(taken) < len(recipients):
            return Answer(result="delivered", detail=f"refused for {len(recipients) - len(taken)} of {len(recipients)}")
        return DELIVERED


class _On(smtplib.SMTP):
    """A session on a connection that is there already: to whom one may connect is not decided here."""

    def __init__(self, made: socket.socket, host: str) -> None:
        super().__init__(timeout=made.gettimeout() or 10.0)
        self.sock = made
        self._host = host  # whom the certificate must name, as `starttls` looks it up


def _refused(session: smtplib.SMTP, code: int, what: str) -> Answer:
    with contextlib.suppress(OSError, smtplib.SMTPException):  # the next mail will show it
        session.rset()
    return _understood(code, what, away=code == _AWAY)


def _understood(code: int, what: str, *, away: bool) -> Answer:
    """A reply code of 5xx is for good (RFC 5321, section 4.2.1), any other may pass."""
    detail = f"answered {code} to {what}"
    if 500 <= code < 600:
        return Answer(result="rejected", detail=detail)
    return Answer(result="not_taken", detail=detail, away=away)
