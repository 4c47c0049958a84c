"""What HTTP asks of the rest of heardback, as callables that are handed in.

How they do it belongs to the pipeline; how it is asked for over HTTP to the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas.events import Event
from streams.board import Board
from streams.transport import Headers

BODY_BYTES_MAX: Final = 5_000_000
IN_HAND_BYTES_MAX: Final = 64_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """An accepted event for topic `contact-events`: `key` is the resolved customer id, `value` the bytes of
    that event as they came, `headers` the `ce_*` attributes where it came in binary mode."""

    event_id: str
    key: bytes
    value: bytes
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Ready when nothing stands against it; `reasons` say in words what does."""

    reasons: Sequence[str] = ()

    @property
    def ready(self) -> bool:
        """Whether everything can be answered and every clock is watched."""
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """Alive as long as there is nothing to do, or something moved within the limit."""

    stalled_seconds: float
    limit_seconds: float

    @property
    def alive(self) -> bool:
        """Whether a restart would not help."""
        return self.stalled_seconds <= self.limit_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A report as it is sent. `style` is the one style sheet that a page holds, None of what is no page."""

    body: bytes
    content_type: str
    style: str | None = None


class ReportsAway(Exception):  # noqa: N818 - the name says what is
    """The facts that reports are made from cannot be read at the moment."""


def _nobody(_reason: str) -> None:
    """Refusals that nobody counts."""


class NotYetKnown(Exception):  # noqa: N818 - what it means for whoever asks
    """Not everything that fires has been read yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """How somebody takes a page. `alert` and `incident` are told by what name and by whom; they return whether there
    is such a thing, and raise NotYetKnown or TransportError where that cannot be said. `pagerduty_secret` None: its
    webhook is not there."""

    alert: Callable[[str, str | None], Awaitable[bool]]
    incident: Callable[[str, str | None], Awaitable[bool]]
    pagerduty_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What the routes need.

    `publish` returns once the broker has every record, in order; raises `TransportError` where it cannot.
    `customer_of` is the customer an event belongs to (C19), None where it names nobody. `explain` is the
    explanation of a contact at an instant (None: now) as `streams.engine.explain.to_json` makes it, None where the
    contact is not known; may raise `TransportError`. `metrics` is a page and its content type. `refused` hears the
    reason of each refused event. `board` tells who is waiting, `acknowledge` takes pages; None: another process
    does. `report` is a week's report in a format, None where nothing is known of that week; raises ValueError for
    what is no week or no format, `ReportsAway` where it cannot be made. `ahead` and `late_after` are C20's, measured
    from `now`. `in_hand_bytes_max` bounds the bodies of all requests that are not answered yet. `silences_url` is an
    Alertmanager, where pages are silenced; None: there is none. `quiet_seconds`: how often whoever watches the board
    hears of the time while nothing happens; `watch_seconds`: how long one connection lives, after which the browser
    asks again, with the session that it has by then.
    """

    publish: Callable[[Sequence[Publish]], Awaitable[None]]
    customer_of: Callable[[Event], str | None]
    ready: Callable[[], Readiness]
    alive: Callable[[], Liveness]
    explain: Callable[[str, datetime | None], Awaitable[Mapping[str, Any] | None]]
    metrics: Callable[[], tuple[bytes, str]]
    board: Board | None = None
    silences_url: str | None = None
    acknowledge: Acknowledge | None = None
    report: Callable[[str, str], Awaitable[Document | None]] | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    refused: Callable[[str], None] = _nobody
    ahead: timedelta = timedelta(minutes=5)
    late_after: timedelta = timedelta(days=30)
    body_bytes_max: int = BODY_BYTES_MAX
    in_hand_bytes_max: int = IN_HAND_BYTES_MAX
    body_seconds: float = 30.0
    publish_seconds: float = 30.0
    explain_seconds: float = 10.0
    quiet_seconds: float = 10.0
    watch_seconds: float = 3_600.0
