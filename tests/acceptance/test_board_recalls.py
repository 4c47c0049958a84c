"""Who has waited for longer than the topics remember is on the board all the same, in a real process."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from streams.transport.sqlite_store import table_name
from tests.acceptance.heardback import CONFIGURATION, PARTITIONS, Heardback, ago, event, eventually

DAY = 86_400
FORGETFUL = CONFIGURATION.replace("partitions: 2", "partitions: 2, retention_days: 2")


def rows(heardback: Heardback) -> list[dict[str, Any]]:
    status, body = heardback.get("/?format=json")
    return list(json.loads(body)["rows"]) if status == 200 else []


def forget(heardback: Heardback, *topics: str) -> None:
    """What a broker does with records that are older than it keeps them."""
    connection = sqlite3.connect(heardback.data / "log.sqlite3")
    for topic in topics:
        [(topic_id,)] = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchall()
        for partition in range(PARTITIONS):
            connection.execute(f"DELETE FROM {table_name(topic_id, partition)}")
    connection.commit()
    connection.close()


@pytest.mark.slow
def test_who_waits_since_before_the_topics_remember_is_shown_after_a_restart_until_they_are_answered(
    tmp_path: Path,
) -> None:
    heardback = Heardback(tmp_path, configuration=FORGETFUL)
    with heardback:
        old = event("contact.opened", "T-1", customer_id="old", at=ago(3 * DAY), channel="phone")
        assert heardback.post([old, event("contact.opened", "T-2", customer_id="new")])[0] == 202
        eventually(lambda: len(rows(heardback)) == 2, what="both on the board")
        heardback.stop()
    forget(heardback, "outcomes", "journeys", "alerts")
    with heardback:
        [row] = eventually(lambda: rows(heardback), what="who has waited the longest", seconds=60)
        assert (row["customer_id"], row["channels"]) == ("old", [{"channel": "phone", "dead_end": None}])
        assert row["past_seconds"] == pytest.approx(3 * DAY - 3_600, abs=120)
        assert row["paging"]["state"] == "not_known"
        assert heardback.post(event("message.sent", "T-1", customer_id="old", agent_id="a-1"))[0] == 202
        eventually(lambda: not rows(heardback), what="answered")
