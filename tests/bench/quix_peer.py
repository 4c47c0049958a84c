"""What quixstreams needs for much less: parse, one state a contact, say when the first answer came.

Its states are durable by changelog, as ours are. A process of its own.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any, Final

from quixstreams import Application

from tests.bench.child import say, told

SILENCE_SECONDS: Final = 20.0  # ends it when a record got lost


def first_answer(event: dict[str, Any], state: Any) -> dict[str, Any] | None:
    """When a contact's first answer came, once; the state of its customer's key has a place for each contact."""
    contact_id, kind = event["subject"], event["type"]
    known = state.get(contact_id)
    if known is None:
        state.set(contact_id, {"opened_at": event["time"], "answered": kind == "message.sent"})
        return None
    if kind != "message.sent" or known["answered"]:
        return None
    state.set(contact_id, {**known, "answered": True})
    return {"contact_id": contact_id, "started_at": known["opened_at"], "ended_at": event["time"]}


def main() -> None:
    """One order, one answer."""
    orders = told()
    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            orders["bootstrap"],
            consumer_group=orders["group"],
            auto_offset_reset="earliest",
            state_dir=folder,
            loglevel="ERROR",
        )
        answered = app.topic(orders["answers"], value_serializer="json")
        frame = app.dataframe(app.topic(orders["topic"], value_deserializer="json"))
        frame = frame.apply(first_answer, stateful=True)
        frame = frame.filter(lambda answer: answer is not None)
        frame.to_topic(answered)
        began = time.process_time()
        app.run(count=orders["count"], timeout=SILENCE_SECONDS)
        say(cpu_seconds=time.process_time() - began)


if __name__ == "__main__":
    main()
