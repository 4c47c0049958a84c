"""A real mail server in the test's process (aiosmtpd): STARTTLS with a certificate of its own, signing in, and
whatever answer a test wants. What the mails say does not belong here.
"""

from __future__ import annotations

import ssl
import subprocess
from collections import deque
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.process import free_ports


class Mail(NamedTuple):
    """A mail as it arrived."""

    sender: str
    recipients: tuple[str, ...]
    content: EmailMessage
    encrypted: bool
    user: str | None


class MailServer:
    """The server, as a context manager. `user` and `password` are asked for once the connection is encrypted;
    without a `folder` for its certificate it offers no encryption. `answers` are given to the next mails, one each."""

    def __init__(self, folder: Path | None = None, *, user: str | None = None, password: str = "") -> None:
        self.host = "127.0.0.1"
        [self.port] = free_ports(1)
        self.mails: list[Mail] = []
        self.answers: deque[str] = deque()
        self.refused: set[str] = set()
        self._login = None if user is None else (user, password)
        self.certificate = None if folder is None else certificate(folder)
        self._controller: Controller | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Listens, again on the same port."""
        options: dict[str, Any] = {}
        if self.certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.certificate, self.certificate.with_suffix(".key"))
            options |= {"tls_context": context, "require_starttls": True}
        if self._login is not None:
            options |= {"authenticator": self._authenticated, "auth_required": True}
        self._controller = Controller(self, hostname=self.host, port=self.port, **options)
        self._controller.start()

    def stop(self) -> None:
        """Is away; what it took stays."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def _authenticated(self, server: SMTP, session: Session, envelope: Envelope, how: str, data: Any) -> AuthResult:
        given = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self._login, handled=False, auth_data=self._login)

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuses some recipients."""
        if address in self.refused:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        """Takes the mail, or answers as a test wants."""
        answer = self.answers.popleft() if self.answers else "250 taken"
        if answer.startswith("2"):
            content = message_from_bytes(envelope.original_content or b"", policy=policy.default)
            assert isinstance(content, EmailMessage)
            user = self._login[0] if self._login and session.authenticated else None
            self.mails.append(
                Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), content, session.ssl is not None, user)
            )
        return answer


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key beside it."""
    made = folder / "mail.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(made.with_suffix(".key")), "-out", str(made)],
        check=True, capture_output=True,
    )  # fmt: skip
    return made
