"""The events of the demo, in order: the stories, a slice of a real ticket log, real bounce mails.

The log and the mails are years old; what they tell is moved to the week of the stories, by whole weeks where
weekdays matter. Their licences stand beside them in `data/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, Final

from schemas.events import to_json
from schemas.refusals import Refusal
from streams.ingest import servicenow
from streams.ingest.mail import Ours, read_mail

STARTS: Final = datetime(2026, 11, 10, 0, 0, tzinfo=UTC)
ENDS: Final = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)
_WEEKS_SINCE_THE_LOG: Final = timedelta(weeks=554)  # 2016-03-29 and 2026-11-10 are Tuesdays
# A real bounce mail, the contact of the story whose answer it takes back, and when it comes.
_BOUNCES: Final = (
    ("mail-notice-two-recipients.eml", "mail:cove-1", datetime(2026, 11, 11, 12, 40, tzinfo=UTC)),
    ("mail-delayed.eml", "mail:cove-1", datetime(2026, 11, 12, 15, 30, tzinfo=UTC)),
)
_FOLDER: Final = resources.files("streams.demo")


def text(name: str) -> str:
    """A file of this package as text."""
    return _FOLDER.joinpath(name).read_text("utf-8")


def events() -> list[tuple[datetime, bytes]]:
    """Every event of the sample, by time: its instant and its JSON."""
    found = [*_stories(), *_tickets(), *_bounces()]
    return sorted(
        (datetime.fromisoformat(event["time"]), json.dumps(event).encode())
        for event in found
        if datetime.fromisoformat(event["time"]) < ENDS
    )


def _stories() -> Iterator[dict[str, Any]]:
    yield from (json.loads(line) for line in text("stories.jsonl").splitlines())


def _tickets() -> Iterator[dict[str, Any]]:
    for event in servicenow.read(text("data/servicenow-slice.csv").splitlines(keepends=True)):
        assert not isinstance(event, Refusal)
        yield json.loads(to_json(event.model_copy(update={"time": event.time + _WEEKS_SINCE_THE_LOG})))


def _bounces() -> Iterator[dict[str, Any]]:
    for name, contact_id, at in _BOUNCES:
        mail = _FOLDER.joinpath("data", name).read_bytes()
        for event in read_mail(mail, origin=name, ours=Ours()).events:
            if event.data.model_dump().get("recipient") == "kijitora@example.jp":
                yield json.loads(to_json(event.model_copy(update={"time": at, "subject": contact_id})))
