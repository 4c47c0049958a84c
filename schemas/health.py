"""Health: what heardback can see of itself, topic `health`.

Key `cause`. What somebody must know of it is decided in `alerting.health`.
"""

from __future__ import annotations

from typing import Literal

from schemas.events import Instant, Record, Text

Cause = Literal["audit"]


class Health(Record):
    """For one cause, whether heardback sees: told again and again, the later `at` holds. `summary` says in a sentence
    what is wrong."""

    cause: Cause
    state: Literal["blind", "sees"]
    at: Instant
    summary: Text = ""
