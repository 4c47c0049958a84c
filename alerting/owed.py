"""What one receiver is owed of one alert, in memory, and how long to wait before trying again.

The durable side is the outbox's entry (`notify`); sending is in `deliver`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from alerting.fold import Alert
from alerting.notify import Account, Notice, ended_here, notice_key, undelivered


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a receiver is tried again: after `first_seconds`, twice that, four times ..., at most
    `most_seconds`, each up to half shorter at random; what fires is said again every `resend_seconds`."""

    first_seconds: float = 0.5
    most_seconds: float = 30.0
    resend_seconds: float = 60.0

    def after(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        longest = min(self.most_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  # spreads the load, keeps no secret


@dataclass(slots=True, eq=False)
class Owed:
    """One alert of one partition, or one customer's wait, as this receiver should know it. `instead`: another
    receiver could not be told, and why; `since` when it came to be owed, on the loop's clock."""

    alert_id: str
    partition: int
    number: int
    record: Alert
    wanted: bool
    done: int
    held: dict[int, Alert]
    instead: str
    since: float
    attempts: int = 0
    not_before: float = 0.0
    late: bool = False

    def changed(self, number: int, record: Alert, account: Account, clock: float) -> bool:
        """Takes over a change; whether it is one."""
        if (number, account.wanted, account.instead) == (self.number, self.wanted, self.instead):
            return False
        if self.done >= self.number:
            self.since = clock  # else it has been owed for longer already, in whatever words
        if number == self.number:
            self.done = min(self.done, account.done)  # to be told anew, instead of another receiver
        self.number, self.record, self.wanted, self.instead = number, record, account.wanted, account.instead
        self.attempts, self.not_before, self.late = 0, 0.0, False
        return True

    @property
    def firing(self) -> bool:
        """Whether the receiver should hold it as firing."""
        return self.wanted and bool(self.record["state"] == "firing")

    @property
    def stands(self) -> bool:
        """Whether it fires and the receiver knows: what is said again from time to time."""
        return self.firing and bool(self.held) and self.done >= self.number

    def notice(self) -> Notice | None:
        """What to say; None: nothing, it is over and was never heard of."""
        record = self.record
        if not self.firing:
            if not self.held:
                return None
            if record["state"] == "firing":
                record = ended_here(self.held[max(self.held)])
        if self.instead:
            record = undelivered(record, self.instead)
        replaces = tuple(held for number, held in self.held.items() if number != self.number)
        return Notice(self.alert_id, self.number, record, notice_key(record, self.number), replaces)
