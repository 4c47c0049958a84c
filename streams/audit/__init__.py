"""The self-audit: what `contact-events` says by a replay, against everything that was made of it live.

An independent look from outside: it reads topics alone, judges every contact anew with the engine and never asks the
code that pages. `topics` names what is read, `view` reads it up to one cut, `truth` has the contacts as they ought to
be known, `checks` compares, `finding` is what comes of it, `portions` bounds the memory, `run` puts one audit together.
Starting it again and again, and saying aloud what it found, is `streams.commands.auditing`'s.

What it cannot see it says: contacts whose events the log no longer holds are counted, not judged.
"""

from streams.audit.checks import ReceiversOf
from streams.audit.finding import KINDS, Audited, Finding
from streams.audit.run import Asked, NothingToAudit, audit

__all__ = ["KINDS", "Asked", "Audited", "Finding", "NothingToAudit", "ReceiversOf", "audit"]
