"""One customer's wait as one receiver for people is told of it: a line per contact, one notification. Pure.

Alerts stay per contact. Such a receiver hears of a customer once: the notification is brought up to date as
lines come, change and end, and is over with the last of them. `episode` names it from the first line to the
end. Which receivers hear of which alerts is decided in `outbox`; sending is in `deliver`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from typing import Any, Final, get_args

import orjson

from alerting import message
from alerting.fold import Alert
from alerting.notify import UNDELIVERED, Account, account_after, ended_here, undelivered
from schemas.alerts import Severity

LINES_SHOWN: Final = 20
"""Lines of one notification: the gravest. The others are counted."""

LINES_IN_FULL: Final = 50
LINES_MOST: Final = 1_000
"""Lines that are told apart of one customer, so that a wait stays below the size of a record; a further one
is told once others have ended."""

ENDED_KEPT: Final = 20
_AGAIN: Final = "-"
_SEVERITIES: Final = get_args(Severity)
_SLIM: Final = ("alert_id", "kind", "severity", "contact_id", "starts_at", "at", "due_at", "summary")


@dataclass(frozen=True, slots=True)
class Wait:
    """What fires of one customer for one receiver, what of it has ended, and what the receiver knows. `number`
    counts the changes. An alert that is of no customer is by itself."""

    receiver: str
    customer_id: str | None
    episode: str
    number: int
    lines: dict[str, Alert]
    ended: dict[str, Alert] = field(default_factory=dict)
    account: Account = field(default_factory=Account)

    @property
    def accounts(self) -> dict[str, Account]:
        """As an outbox's entry has them."""
        return {self.receiver: self.account}

    @property
    def alert_id(self) -> str:
        """What names it towards the receiver."""
        return self.episode

    @property
    def record(self) -> Alert:
        """The notification: an alert's record for the customer as a whole, with `lines` (the gravest first) and
        those that `ended`, each an alert's record, and how many there are."""
        return _firing(self) if self.lines else _over(self)

    @property
    def records(self) -> dict[str, Alert]:
        """The last change by its number."""
        return {str(self.number): self.record}

    @property
    def finished(self) -> bool:
        """Nothing fires any more, and the receiver knows."""
        return not self.lines and self.account.done >= self.number

    def to_bytes(self) -> bytes:
        """As a table keeps it."""
        return orjson.dumps(self)

    @classmethod
    def from_bytes(cls, value: bytes) -> Wait:
        """The inverse of `to_bytes`."""
        content = orjson.loads(value)
        return cls(**{**content, "account": Account.of(content["account"])})


def told(wait: Wait | None, receiver: str, alert: Alert, *, wanted: bool, number: int = 1) -> Wait | None:
    """The wait after a change of one alert of its customer, the `number`th of it. `wanted`: the alert's route leads
    to this receiver; what it was told because another one could not be stays with it. Repeating a change alters
    nothing."""
    name = alert["alert_id"]
    known = None if wait is None else wait.lines.get(name)
    if known is not None and UNDELIVERED in known["annotations"] and alert["state"] == "firing":
        alert, wanted = undelivered(alert, known["annotations"][UNDELIVERED]), True
    if alert["state"] != "firing" or not wanted:
        if wait is None or known is None:
            return wait
        over = alert if alert["state"] != "firing" else ended_here(known)
        return _without(wait, name, over)
    if wait is None:
        return Wait(receiver, alert["customer_id"], episode(receiver, alert, number), 1, {name: alert})
    if known == _fitted(wait, alert) or (known is None and len(wait.lines) >= LINES_MOST):
        return wait
    lines = _graver_first({**wait.lines, name: _fitted(wait, alert)})
    ended = {other: record for other, record in wait.ended.items() if other != name}
    return replace(wait, number=wait.number + 1, lines=lines, ended=ended)


def settled(wait: Wait, delivery: Mapping[str, Any]) -> Wait:
    """The wait after one step of a delivery (`schemas.deliveries`), which may come twice, or late: then it is
    of another episode and changes nothing."""
    if delivery["alert_id"] != wait.episode:
        return wait
    return replace(wait, account=account_after(wait.account, delivery))


def _without(wait: Wait, name: str, over: Alert) -> Wait:
    lines = {other: record for other, record in wait.lines.items() if other != name}
    ended = {**wait.ended, name: over}
    ended = dict(islice(ended.items(), max(0, len(ended) - ENDED_KEPT), None))
    return replace(wait, number=wait.number + 1, lines=lines, ended=ended)


def _fitted(wait: Wait, alert: Alert) -> Alert:
    """A line of a customer with very many is kept short, for as long as it stands."""
    known = wait.lines.get(alert["alert_id"])
    if (len(wait.lines) < LINES_IN_FULL) if known is None else ("labels" in known):
        return alert
    why = {name: text for name, text in alert["annotations"].items() if name == UNDELIVERED}
    return {**{name: alert[name] for name in _SLIM}, "summary": alert["summary"][:100], "annotations": why}


def _graver_first(lines: Mapping[str, Alert]) -> dict[str, Alert]:
    """In the order in which they are shown: gravest first, of those the longest waiting."""
    order = sorted(lines.items(), key=lambda item: (-_gravity(item[1]), *_place(item[1])))
    return dict(order)


def _place(record: Alert) -> tuple[str, str, str]:
    return record["starts_at"], record["contact_id"] or "", record["alert_id"]


def _gravity(record: Alert) -> int:
    return _SEVERITIES.index(record["severity"])


def episode(receiver: str, first: Mapping[str, Any], number: int = 1) -> str:
    """32 hex digits, the same when the change that began it is folded again after a crash. An alert may fire anew as
    of the same instant (an answer that came late had bounced before it was due): its later changes have their
    `number` behind a dash, or whoever removes repeats would take a second page for the first."""
    parts = (receiver, first["customer_id"] or "", first["alert_id"], first["at"])
    name = blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
    return name if number == 1 else f"{name}{_AGAIN}{number}"


def without_number(name: str) -> str:
    """The name of an episode as `episode` gives it for the change that nobody counted."""
    return name.partition(_AGAIN)[0]


def _firing(wait: Wait) -> Alert:
    lines = list(wait.lines.values())
    return {
        **_about(wait, lines),
        "state": "firing",
        "severity": max(lines, key=_gravity)["severity"],
        "ends_at": None,
        "at": max(record["at"] for record in (*lines, *wait.ended.values())),
        "summary": _summary(wait, lines),
        "resolution": None,
        "lines": lines[:LINES_SHOWN],
        "ended": list(wait.ended.values()),
        "count": len(lines),
        "acknowledged": all(record.get("acknowledged_at") for record in lines),
    }


def _over(wait: Wait) -> Alert:
    ended = list(wait.ended.values())
    at = max(record["at"] for record in ended)
    resolution = "answered" if any(record["resolution"] == "answered" for record in ended) else ended[-1]["resolution"]
    one = (
        ended[0]["summary"]
        if len(ended) == 1
        else f"The wait of customer {wait.customer_id} is over, at " + (f"{message.clock_time(at)}: {_named(ended)}.")
    )
    return {
        **_about(wait, ended),
        "state": "resolved",
        "severity": max(ended, key=_gravity)["severity"],
        "ends_at": at,
        "at": at,
        "summary": one,
        "resolution": resolution,
        "lines": [],
        "ended": ended,
        "count": 0,
    }


def _about(wait: Wait, lines: Sequence[Alert]) -> Alert:
    """What the notification says of the customer whether it fires or not, led by the gravest line."""
    first = max(lines, key=_gravity)
    annotations = dict(first["annotations"])
    if "customer_url" in annotations:
        annotations["board_url"] = annotations["customer_url"]
    return {
        "alert_id": wait.episode,
        "kind": first["kind"],
        "customer_id": wait.customer_id,
        "contact_id": first["contact_id"] if len(lines) == 1 else None,
        "target": first.get("target"),
        "policy": first.get("policy"),
        "due_at": min((line["due_at"] for line in lines if line["due_at"]), default=None),
        "starts_at": min(line["starts_at"] for line in lines),
        "labels": first.get("labels", {}),
        "annotations": annotations,
    }


def _summary(wait: Wait, lines: Sequence[Alert]) -> str:
    if len(lines) == 1:
        return str(lines[0]["summary"])
    since = message.clock_time(min(line["starts_at"] for line in lines))
    contacts = len({line["contact_id"] for line in lines})
    on = f"{contacts} contacts" if contacts > 1 else "1 contact"
    return f"Customer {wait.customer_id} is let down in {on}, since {since}: {_named(lines)}."


def _named(lines: Sequence[Alert]) -> str:
    some = [f"{line['contact_id'] or line['kind']} ({line['kind'].replace('_', ' ')})" for line in lines[:5]]
    more = len(lines) - len(some)
    return ", ".join(some) + (f" and {more} more" if more else "")
